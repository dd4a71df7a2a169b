use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};

/// Whether a process listens at this address. A connection to a local port on which none listens
/// may connect to itself (RFC 9293, section 3.5, simultaneous open), if the system gives its own
/// end just that port.
pub(super) fn is_listening(address: SocketAddr) -> bool {
    TcpStream::connect(address)
        .and_then(|stream| stream.local_addr())
        .is_ok_and(|own| own != address)
}

/// Two free loopback addresses for a service, which takes some time until it listens.
///
/// # Errors
///
/// A text, if there are none.
pub(super) fn free_addresses() -> Result<[SocketAddr; 2], String> {
    Ok([free_address()?, free_address()?])
}

/// A free loopback address, as that of [`free_listener`].
fn free_address() -> Result<SocketAddr, String> {
    free_listener()?.local_addr().map_err(|error| error.to_string())
}

/// A listener at a loopback address whose port the system does not give to others on request. Its
/// port has five digits.
///
/// # Errors
///
/// A text, if there is no free port.
pub(super) fn free_listener() -> Result<TcpListener, String> {
    // Below the ephemeral ports of Linux and of RFC 6335.
    const PORTS: std::ops::Range<u16> = 20_000..32_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let mut free = PORTS.filter_map(|_| {
        // Each process begins at another port.
        let number =
            std::process::id().wrapping_mul(97).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = PORTS.start + u16::try_from(number % PORTS.len() as u32).unwrap_or_default();
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()
    });
    free.next().ok_or_else(|| "no free port".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_addresses_for_a_service_are_free_and_distinct() {
        let [one, other] = free_addresses().unwrap();
        assert_ne!(one, other);
        for address in [one, other] {
            assert!(!is_listening(address));
            let listener = TcpListener::bind(address).unwrap();
            assert!(is_listening(address));
            drop(listener);
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_connection_to_itself_does_not_count_as_listening() {
        use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
        let [address, _] = free_addresses().unwrap();
        let own = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        bind(&own, &address).unwrap();
        connect(&own, &address).unwrap();
        assert_eq!(TcpStream::from(own).peer_addr().unwrap(), address);
        assert!(!is_listening(address));
    }
}
