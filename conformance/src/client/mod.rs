//! Vectors for clients: what the service says, and what a client must do.

mod command;
mod player;
mod request;
mod sockets;
mod vector;

pub use command::{USAGE, command};
pub use player::{Deviation, Player, Todo};
pub use sockets::{End, Patience, Report, play};
pub use vector::{
    Call, Connection, Exit, File, Place, Request, Step, Vector, Write, load, load_file,
};
