//! Linux on x86_64: how a process starts, system calls, and what the compiler expects of a C library.
#![allow(unsafe_code, reason = "the only module with system calls")]

use core::arch::{asm, naked_asm};
use core::ffi::{CStr, c_char, c_int, c_void};
use core::net::SocketAddrV4;
use core::ptr;
use core::time::Duration;

/// Where the kernel starts the process: with the arguments and the environment on the stack.
///
/// # Safety
///
/// For the kernel only.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn _start() -> ! {
    naked_asm!("mov rdi, rsp", "call {start}", "ud2", start = sym start)
}

/// # Safety
///
/// `stack` is the stack pointer with which the process was started.
unsafe extern "C" fn start(stack: *const usize) -> ! {
    // SAFETY: the stack holds the number of arguments, so many pointers, a null pointer, and then the
    // environment, a pointer each, up to another null pointer (System V ABI for AMD64, section 3.4.1).
    let environment = unsafe { Environment(stack.add(*stack + 2).cast()) };
    exit(crate::main(environment))
}

/// The environment that the process was started with.
pub(crate) struct Environment(*const *const c_char);

impl Environment {
    /// The value of a variable; empty if it is not UTF-8.
    pub(crate) fn variable(&self, name: &str) -> Option<&'static str> {
        let mut entry = self.0;
        loop {
            // SAFETY: a null pointer ends the block, and nothing behind it is read.
            let text = unsafe { *entry };
            if text.is_null() {
                return None;
            }
            // SAFETY: the kernel has ended each variable with a zero byte, and nobody writes to them.
            let text = unsafe { CStr::from_ptr(text) }.to_bytes();
            let value = text.strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b"="));
            if let Some(value) = value {
                return Some(core::str::from_utf8(value).unwrap_or_default());
            }
            // SAFETY: the block goes on, as this was not its null pointer.
            entry = unsafe { entry.add(1) };
        }
    }
}

/// Why a system call has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Errno(pub(crate) i32);

impl Errno {
    pub(crate) const INTERRUPTED: Self = Self(4);
}

/// A TCP connection, closed on drop.
pub(crate) struct Socket(usize);

/// `struct sockaddr_in`.
#[repr(C)]
struct Address {
    family: u16,
    port: [u8; 2],
    ip: [u8; 4],
    zero: [u8; 8],
}

/// `struct iovec`.
#[repr(C)]
struct Part {
    base: *const u8,
    length: usize,
}

/// `struct msghdr`.
#[repr(C)]
struct Message {
    name: *const c_void,
    name_length: u32,
    parts: *const Part,
    count: usize,
    control: *const c_void,
    control_length: usize,
    flags: c_int,
}

impl Socket {
    pub(crate) fn connect(address: SocketAddrV4) -> Result<Self, Errno> {
        const AF_INET: usize = 2;
        const SOCK_STREAM: usize = 1;
        const SOCK_CLOEXEC: usize = 0o2_000_000;
        const IPPROTO_TCP: usize = 6;
        const TCP_NODELAY: usize = 1;

        // SAFETY: it takes no pointers.
        let file = unsafe { call(SOCKET, [AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0, 0, 0]) }?;
        let socket = Self(file);
        let one: c_int = 1;
        let [at, length] = [(&raw const one).addr(), size_of_val(&one)];
        // SAFETY: the option is an `int`, and it is read before `one` ends.
        unsafe { call(SETSOCKOPT, [file, IPPROTO_TCP, TCP_NODELAY, at, length]) }?;
        let (port, ip) = (address.port().to_be_bytes(), address.ip().octets());
        let address = Address { family: AF_INET as u16, port, ip, zero: [0; 8] };
        let [at, length] = [(&raw const address).addr(), size_of_val(&address)];
        // SAFETY: it reads one address, of this length.
        unsafe { call(CONNECT, [file, at, length, 0, 0]) }?;
        Ok(socket)
    }

    pub(crate) fn receive(&mut self, room: &mut [u8]) -> Result<usize, Errno> {
        // SAFETY: it writes into the room, which is borrowed until it returns, and not behind its end.
        unsafe { call(READ, [self.0, room.as_mut_ptr().addr(), room.len(), 0, 0]) }
    }

    /// Sends some of the parts, in order.
    pub(crate) fn send(&mut self, parts: [&[u8]; 3]) -> Result<usize, Errno> {
        // Without it a connection that is gone would end the process.
        const MSG_NOSIGNAL: usize = 0x4000;
        let parts = parts.map(|part| Part { base: part.as_ptr(), length: part.len() });
        let message = Message {
            name: ptr::null(),
            name_length: 0,
            parts: parts.as_ptr(),
            count: parts.len(),
            control: ptr::null(),
            control_length: 0,
            flags: 0,
        };
        // SAFETY: it reads the message, its table and the parts, all of which outlive the call.
        unsafe { call(SENDMSG, [self.0, (&raw const message).addr(), MSG_NOSIGNAL, 0, 0]) }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // SAFETY: the file is this socket's own, and not used again.
        let _is_closed_in_any_case = unsafe { call(CLOSE, [self.0, 0, 0, 0, 0]) };
    }
}

pub(crate) fn write_to_stderr(bytes: &[u8]) {
    // SAFETY: it only reads the bytes.
    let _best_effort = unsafe { call(WRITE, [2, bytes.as_ptr().addr(), bytes.len(), 0, 0]) };
}

pub(crate) fn sleep(time: Duration) {
    if time.is_zero() {
        return;
    }
    let time = [time.as_secs(), time.subsec_nanos().into()];
    // SAFETY: it reads a `struct timespec`, which is two numbers of 64 bits.
    let _may_be_short = unsafe { call(NANOSLEEP, [time.as_ptr().addr(), 0, 0, 0, 0]) };
}

/// A number that nobody can foresee, or 0 if the kernel has none.
pub(crate) fn random() -> u32 {
    let mut number = 0u32;
    let [at, length] = [(&raw mut number).addr(), size_of::<u32>()];
    // SAFETY: it writes so many bytes, of any value, into the number.
    let _or_zero = unsafe { call(GETRANDOM, [at, length, 0, 0, 0]) };
    number
}

pub(crate) fn exit(code: i32) -> ! {
    loop {
        // SAFETY: it takes no pointers, and ends the process.
        let _never = unsafe { call(EXIT_GROUP, [code as usize, 0, 0, 0, 0]) };
    }
}

// Linux, `arch/x86/entry/syscalls/syscall_64.tbl`.
const READ: usize = 0;
const WRITE: usize = 1;
const CLOSE: usize = 3;
const NANOSLEEP: usize = 35;
const SOCKET: usize = 41;
const CONNECT: usize = 42;
const SENDMSG: usize = 46;
const SETSOCKOPT: usize = 54;
const EXIT_GROUP: usize = 231;
const GETRANDOM: usize = 318;

/// Makes a system call.
///
/// # Safety
///
/// Pointers must be good for what this call does with them.
unsafe fn call(number: usize, arguments: [usize; 5]) -> Result<usize, Errno> {
    let [first, second, third, fourth, fifth] = arguments;
    let result: isize;
    // SAFETY: the kernel changes these registers only, and no stack; memory it may read and write as the
    // caller has promised.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") first,
            in("rsi") second,
            in("rdx") third,
            in("r10") fourth,
            in("r8") fifth,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    usize::try_from(result).map_err(|_| Errno(-result as i32))
}

/// What compiled code calls by name, and a C library would have. In assembly, as the compiler would make
/// calls of the same functions out of plain loops.
mod called_by_the_compiler {
    use core::arch::asm;
    use core::ffi::c_int;

    /// # Safety
    ///
    /// As in C.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
        // SAFETY: the caller says that so many bytes may be read there, and written here.
        unsafe {
            asm!(
                "rep movsb",
                inout("rcx") length => _,
                inout("rdi") to => _,
                inout("rsi") from => _,
                options(nostack, preserves_flags),
            );
        }
        to
    }

    /// # Safety
    ///
    /// As in C.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
        if to.addr().wrapping_sub(from.addr()) >= length {
            // SAFETY: as the caller says; what is read has not been written to before.
            return unsafe { memcpy(to, from, length) };
        }
        // SAFETY: as the caller says. It goes from the last byte to the first, as the end of what is read
        // lies in what is written; the direction flag is cleared again.
        unsafe {
            asm!(
                "std",
                "rep movsb",
                "cld",
                inout("rcx") length => _,
                inout("rdi") to.wrapping_add(length).wrapping_sub(1) => _,
                inout("rsi") from.wrapping_add(length).wrapping_sub(1) => _,
                options(nostack),
            );
        }
        to
    }

    /// # Safety
    ///
    /// As in C.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memset(to: *mut u8, byte: c_int, length: usize) -> *mut u8 {
        // SAFETY: the caller says that so many bytes may be written there.
        unsafe {
            asm!(
                "rep stosb",
                inout("rcx") length => _,
                inout("rdi") to => _,
                in("al") byte as u8,
                options(nostack, preserves_flags),
            );
        }
        to
    }

    /// # Safety
    ///
    /// As in C.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcmp(one: *const u8, two: *const u8, length: usize) -> c_int {
        for at in 0..length {
            // SAFETY: the caller says that so many bytes may be read of both.
            let (one, two) = unsafe { (*one.add(at), *two.add(at)) };
            if one != two {
                return c_int::from(one) - c_int::from(two);
            }
        }
        0
    }

    /// # Safety
    ///
    /// As in C.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn bcmp(one: *const u8, two: *const u8, length: usize) -> c_int {
        // SAFETY: as the caller says.
        unsafe { memcmp(one, two, length) }
    }

    /// # Safety
    ///
    /// As in C.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn strlen(text: *const u8) -> usize {
        let length: usize;
        // SAFETY: the caller says that a zero byte ends the text; nothing behind it is read.
        unsafe {
            asm!(
                "repne scasb",
                inout("rcx") usize::MAX => length,
                inout("rdi") text => _,
                in("al") 0u8,
                options(nostack, readonly),
            );
        }
        // It has counted down to -(length + 2).
        !length - 1
    }
}
