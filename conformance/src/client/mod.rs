//! Vectors for clients and extensions: what the service sends, and what they must do.

mod command;
mod deliveries;
mod extension_memory;
mod line;
mod memory;
mod outbound;
mod player;
mod rehearsal;
mod request;
mod sockets;
mod vector;

pub use command::{CAN, EXTENSION_CAN, EXTENSION_USAGE, Tested, USAGE, command};
pub use extension_memory::{ExtensionTranscript, play_extension_in_memory};
pub use memory::{Delivery, Transcript, not_for_core, play_in_memory};
pub use player::{Deviation, Player, Todo};
pub use sockets::{End, Patience, Report, play};
pub use vector::{
    Call, Connection, Deliver, Exit, Field, File, Place, Replied, Request, Step, Vector, Write,
    load, load_file,
};
