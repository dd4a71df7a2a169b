use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};

/// Whether a process listens at this address. A connection to a local port on which none listens
/// may connect to itself (RFC 9293, section 3.5, simultaneous open), if the system gives its own
/// end just that port.
pub(super) fn is_listening(address: SocketAddr) -> bool {
    TcpStream::connect(address)
        .and_then(|stream| stream.local_addr())
        .is_ok_and(|own| own != address)
}

/// A port of 127.0.0.1 for a process that takes some time until it listens.
///
/// It has five digits, and the system gives it to nobody who asks for any port. On Linux no other
/// `Port` in the same network namespace has its number, from [`claim`](Self::claim) to drop.
#[derive(Debug)]
pub struct Port {
    number: u16,
    #[cfg(target_os = "linux")]
    _claim: std::os::unix::net::UnixDatagram,
}

impl Port {
    /// A free port.
    ///
    /// # Errors
    ///
    /// A text, if there is none.
    pub fn claim() -> Result<Self, String> {
        // Below the ephemeral ports of Linux and of RFC 6335.
        const PORTS: std::ops::Range<u16> = 20_000..32_000;
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let mut free = PORTS.filter_map(|_| {
            // Each process begins at another port.
            let number = std::process::id()
                .wrapping_mul(97)
                .wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
            let offset = u16::try_from(number % PORTS.len() as u32).unwrap_or_default();
            Self::claim_number(PORTS.start + offset)
        });
        free.next().ok_or_else(|| "no free port".to_owned())
    }

    /// Claims this port, if it is free.
    fn claim_number(number: u16) -> Option<Self> {
        // A name in the abstract namespace has one owner, and is free when that one ends.
        #[cfg(target_os = "linux")]
        let claim = {
            use std::os::linux::net::SocketAddrExt;
            use std::os::unix::net::{SocketAddr, UnixDatagram};
            let name = format!("lambda-conformance port {number}");
            UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name).ok()?).ok()?
        };
        let port = Self {
            number,
            #[cfg(target_os = "linux")]
            _claim: claim,
        };
        // To listen there would take it away: a process that another thread starts at that moment has
        // a copy of the listener, until it executes its program.
        (!is_listening(port.address())).then_some(port)
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// Its address, on 127.0.0.1.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.number).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn ports_are_free_and_distinct() {
        let ports = [(); 2].map(|()| Port::claim().unwrap());
        assert_ne!(ports[0].number(), ports[1].number());
        for address in ports.each_ref().map(Port::address) {
            assert!(!is_listening(address));
            let listener = TcpListener::bind(address).unwrap();
            assert!(is_listening(address));
            drop(listener);
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_claimed_port_is_claimed_once_although_nobody_listens() {
        let port = Port::claim().unwrap();
        assert!(Port::claim_number(port.number()).is_none());
        let number = port.number();
        drop(port);
        assert!(Port::claim_number(number).is_some());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_connection_to_itself_does_not_count_as_listening() {
        use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
        let port = Port::claim().unwrap();
        let address = port.address();
        let own = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        bind(&own, &address).unwrap();
        connect(&own, &address).unwrap();
        assert_eq!(TcpStream::from(own).peer_addr().unwrap(), address);
        assert!(!is_listening(address));
    }
}
