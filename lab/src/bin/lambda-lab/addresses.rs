//! Addresses on the command line.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, ToSocketAddrs};

/// An address of this machine: an IP address, also in brackets, or a name, such as `localhost`.
/// A name stands for the first of its addresses at which this machine can listen.
pub(crate) fn host(text: &str) -> Result<IpAddr, String> {
    let inner = text.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(text);
    if let Ok(address) = inner.parse() {
        return Ok(address);
    }
    let wrong = |reason: String| {
        format!(
            "\"{text}\" is not an address of this machine ({reason}): write 127.0.0.1, ::1, 0.0.0.0 or localhost"
        )
    };
    let found = (inner, 0).to_socket_addrs().map_err(|error| wrong(error.to_string()))?;
    let mut found = found.map(|address| address.ip());
    let can_listen = |address: &IpAddr| TcpListener::bind((*address, 0)).is_ok();
    found.find(can_listen).ok_or_else(|| wrong("it belongs to another machine".to_owned()))
}

/// A port, with or without an address before it.
pub(crate) fn port_or_address(text: &str) -> Result<SocketAddr, String> {
    let (address, digits) = text.rsplit_once(':').unwrap_or(("127.0.0.1", text));
    let wrong = || format!("\"{text}\" is not [HOST:]PORT: write 9001 or 0.0.0.0:9001");
    let port = digits.parse().map_err(|_| wrong())?;
    // An address of IPv6 without brackets could end with the port, or not.
    if address.is_empty() || (address.contains(':') && !address.starts_with('[')) {
        return Err(wrong());
    }
    Ok(SocketAddr::new(host(address)?, port))
}

/// Where callers find the lab by default.
pub(crate) const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

#[cfg(test)]
mod tests {
    use super::{host, port_or_address};

    #[test]
    fn a_host_is_an_address_in_each_form_or_a_name_of_this_machine() {
        for (text, address) in
            [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("[::1]", "::1"), ("0.0.0.0", "0.0.0.0")]
        {
            assert_eq!(host(text), Ok(address.parse().unwrap()));
        }
        assert!(host("localhost").unwrap().is_loopback());
        for text in ["", "[::1", "192.0.2.1:80", "no such host"] {
            assert!(host(text).unwrap_err().contains("localhost"), "{text}");
        }
    }

    #[test]
    fn the_host_of_a_port_may_be_left_out() {
        for (text, address) in [
            ("9001", "127.0.0.1:9001"),
            ("0", "127.0.0.1:0"),
            ("0.0.0.0:9001", "0.0.0.0:9001"),
            ("[::1]:9001", "[::1]:9001"),
        ] {
            assert_eq!(port_or_address(text), Ok(address.parse().unwrap()));
        }
        for text in ["", "x", "70000", ":9001", "::1", "::1:9001", "127.0.0.1:", "-1"] {
            assert!(port_or_address(text).unwrap_err().contains("0.0.0.0:9001"), "{text}");
        }
    }
}
