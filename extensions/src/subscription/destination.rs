use core::marker::PhantomData;

use super::InvalidSubscription;

/// A port on which somebody listens. It borrows from the listener, which therefore still exists
/// when the extension subscribes.
///
/// Bind the listener to the address of `sandbox.localdomain` where that name resolves, to loopback
/// otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener<'l> {
    port: u16,
    bound: PhantomData<&'l ()>,
}

impl Listener<'static> {
    /// The port of a listener of another kind than `std::net::TcpListener`.
    ///
    /// The caller asserts that it is bound, and that it stays so. Without a listener, Lambda
    /// retries for some time, and then the records are lost.
    ///
    /// # Errors
    ///
    /// [`InvalidSubscription::NoPort`] or [`InvalidSubscription::ReservedPort`].
    pub const fn on_port(port: u16) -> Result<Self, InvalidSubscription> {
        match port {
            0 => Err(InvalidSubscription::NoPort),
            RESERVED => Err(InvalidSubscription::ReservedPort),
            port => Ok(Self { port, bound: PhantomData }),
        }
    }
}

impl<'l> Listener<'l> {
    /// The port of this listener, which is bound.
    ///
    /// # Errors
    ///
    /// The error of the operating system, or one that contains
    /// [`InvalidSubscription::ReservedPort`].
    #[cfg(feature = "std")]
    pub fn of(listener: &'l std::net::TcpListener) -> std::io::Result<Self> {
        let port = listener.local_addr()?.port();
        Listener::on_port(port)
            .map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidInput, error))
    }

    /// The port.
    pub const fn port(&self) -> u16 {
        self.port
    }
}

/// Lambda keeps this port for itself.
const RESERVED: u16 = 9001;

/// Where the service sends telemetry to: always to `sandbox.localdomain`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Destination<'l> {
    pub(super) listener: Listener<'l>,
    pub(super) protocol: Protocol<'l>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol<'l> {
    Http { path: &'l str },
    Tcp,
}

impl<'l> Destination<'l> {
    /// A server that takes each batch by POST, as a JSON array. It can refuse a batch, which is
    /// then sent again.
    pub const fn http(listener: Listener<'l>) -> Self {
        Self { listener, protocol: Protocol::Http { path: "" } }
    }

    /// The same with a path. AWS's emulator of Managed Instances posts to the root nevertheless.
    ///
    /// # Errors
    ///
    /// [`InvalidSubscription::Path`] unless the path begins with `/` and has only visible ASCII
    /// characters, without `"`, `\` and `#`.
    pub fn http_at(listener: Listener<'l>, path: &'l str) -> Result<Self, InvalidSubscription> {
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\"\\#".contains(&byte);
        if !path.starts_with('/') || !path.bytes().all(is_plain) {
            return Err(InvalidSubscription::Path);
        }
        Ok(Self { listener, protocol: Protocol::Http { path } })
    }

    /// A server that takes one record per line. It cannot refuse anything, so what it does not read
    /// is lost; HTTP is the better choice [Lambda Developer Guide: Telemetry API].
    pub const fn tcp(listener: Listener<'l>) -> Self {
        Self { listener, protocol: Protocol::Tcp }
    }
}
