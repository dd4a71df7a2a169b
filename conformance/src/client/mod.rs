//! Vectors for clients: what the service sends, and what a client must do.

mod command;
mod memory;
mod player;
mod rehearsal;
mod request;
mod sockets;
mod vector;

pub use command::{CAN, USAGE, command};
pub use memory::{Delivery, Transcript, not_for_core, play_in_memory};
pub use player::{Deviation, Player, Todo};
pub use sockets::{End, Patience, Report, play};
pub use vector::{
    Call, Connection, Exit, Field, File, Place, Request, Step, Vector, Write, load, load_file,
};
