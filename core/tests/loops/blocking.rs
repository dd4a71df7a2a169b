//! The driver that blocks, over the service in memory.

use embedded_io::{ErrorKind, ErrorType, Read, Write};
use lambda_proto::client::Warning;
use lambda_proto::driver;

pub(crate) use lambda_proto::driver::{Driver, DriverError, Response, Sent};

use crate::memory::{Connection, Script};

impl ErrorType for Connection {
    type Error = ErrorKind;
}

impl Read for Connection {
    fn read(&mut self, room: &mut [u8]) -> Result<usize, ErrorKind> {
        self.take_read(room)
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        self.take_write([bytes, b"", b""])
    }

    fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }
}

impl driver::Connection for Connection {
    fn write_parts(&mut self, parts: [&[u8]; 3]) -> Result<usize, ErrorKind> {
        self.take_write(parts)
    }
}

impl driver::Connector for Script {
    type Connection = Connection;
    type Error = &'static str;

    fn connect(&mut self, losses: u32) -> Result<Connection, &'static str> {
        self.take_connection(losses)
    }

    fn warn(&mut self, warning: &Warning<'_>) {
        self.note(warning);
    }

    fn is_stopping(&self) -> bool {
        self.is_stopping.get()
    }
}
