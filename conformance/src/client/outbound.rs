//! The connections on which a played service delivers to a client process.

use std::io::{self, Read};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Duration;

use super::sockets::Happening;

/// How long to try to connect, or to write to a client that does not read.
const MOST_STUCK: Duration = Duration::from_secs(20);

/// The connections, by their numbers.
#[derive(Default)]
pub(super) struct Deliveries(Vec<Arc<TcpStream>>);

impl Deliveries {
    /// The connection of this number. The next one is opened to this port of the client, which is
    /// on this machine.
    pub(super) fn open(
        &mut self,
        number: usize,
        port: u16,
        tell: &Sender<Happening>,
    ) -> io::Result<Arc<TcpStream>> {
        if let Some(stream) = self.0.get(number) {
            return Ok(Arc::clone(stream));
        }
        let address = (Ipv4Addr::LOCALHOST, port).into();
        let stream = Arc::new(TcpStream::connect_timeout(&address, MOST_STUCK)?);
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(MOST_STUCK))?;
        self.0.push(Arc::clone(&stream));
        let (tell, reader) = (tell.clone(), Arc::clone(&stream));
        thread::spawn(move || {
            let mut room = vec![0; 4096];
            while let Ok(length @ 1..) = (&*reader).read(&mut room) {
                if tell.send(Happening::Replied(number, room[..length].to_vec())).is_err() {
                    return;
                }
            }
            let _nobody_listens = tell.send(Happening::EndedDelivery(number));
        });
        Ok(stream)
    }

    /// Sends nothing more on this connection.
    pub(super) fn end(&mut self, number: usize) {
        if let Some(stream) = self.0.get(number) {
            let _may_be_gone = stream.shutdown(Shutdown::Write);
        }
    }
}

impl Drop for Deliveries {
    fn drop(&mut self) {
        for stream in self.0.drain(..) {
            let _may_be_gone = stream.shutdown(Shutdown::Both);
        }
    }
}
