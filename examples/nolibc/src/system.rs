//! Linux on x86_64: process entry, system calls, and the C library functions that the compiler
//! needs.
#![allow(unsafe_code, reason = "the only module with system calls")]

use core::arch::{asm, naked_asm};
use core::ffi::{CStr, c_char, c_int, c_void};
use core::net::SocketAddrV4;
use core::ptr;
use core::time::Duration;

/// The entry point of the process. The kernel has put the arguments and the environment on the
/// stack.
///
/// # Safety
///
/// Only the kernel may call it.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn _start() -> ! {
    naked_asm!("mov rdi, rsp", "call {start}", "ud2", start = sym start)
}

/// # Safety
///
/// `stack` is the stack pointer with which the process was started.
unsafe extern "C" fn start(stack: *const usize) -> ! {
    // SAFETY: the stack holds the number of arguments, a pointer to each, a null pointer, and then
    // a pointer to each environment variable and another null pointer (System V ABI for AMD64,
    // section 3.4.1).
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
            // SAFETY: a null pointer ends the block, and nothing past it is read.
            let text = unsafe { *entry };
            if text.is_null() {
                return None;
            }
            // SAFETY: the kernel has ended each variable with a zero byte, and nothing writes to
            // them.
            let text = unsafe { CStr::from_ptr(text) }.to_bytes();
            let value = text.strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b"="));
            if let Some(value) = value {
                return Some(core::str::from_utf8(value).unwrap_or_default());
            }
            // SAFETY: this was not the null pointer, so another entry follows.
            entry = unsafe { entry.add(1) };
        }
    }
}

/// The error code of a system call.
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
        // SAFETY: it reads `length` bytes of `address`, which outlives the call.
        unsafe { call(CONNECT, [file, at, length, 0, 0]) }?;
        Ok(socket)
    }

    pub(crate) fn receive(&mut self, room: &mut [u8]) -> Result<usize, Errno> {
        // SAFETY: it writes at most `room.len()` bytes into `room`, which is borrowed until it
        // returns.
        unsafe { call(READ, [self.0, room.as_mut_ptr().addr(), room.len(), 0, 0]) }
    }

    /// Sends some of the parts, in order.
    pub(crate) fn send(&mut self, parts: [&[u8]; 3]) -> Result<usize, Errno> {
        // Without this flag, writing to a closed connection would raise SIGPIPE and end the
        // process.
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
        // SAFETY: the file descriptor belongs to this socket and is not used again.
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
    // SAFETY: it reads a `struct timespec`, which is two 64-bit numbers.
    let _may_be_short = unsafe { call(NANOSLEEP, [time.as_ptr().addr(), 0, 0, 0, 0]) };
}

/// An unpredictable number, or 0 if the kernel has none.
pub(crate) fn random() -> u32 {
    let mut number = 0u32;
    let [at, length] = [(&raw mut number).addr(), size_of::<u32>()];
    // SAFETY: it writes at most `length` bytes into the number, for which every value is valid.
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
/// Pointers among the arguments must be valid for what this system call does with them.
unsafe fn call(number: usize, arguments: [usize; 5]) -> Result<usize, Errno> {
    let [first, second, third, fourth, fifth] = arguments;
    let result: isize;
    // SAFETY: the kernel changes only these registers and not the stack. The caller has promised
    // that it may read and write the memory that the arguments point to.
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

/// The functions that compiled code expects from a C library. They are written in assembly, because
/// the compiler would turn plain loops into calls of the same functions.
mod called_by_the_compiler {
    use core::arch::asm;
    use core::ffi::c_int;

    /// # Safety
    ///
    /// As in C.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
        // SAFETY: the caller promises that `length` bytes may be read at `from` and written at
        // `to`.
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
            // SAFETY: as the caller promises; every byte is read before it is overwritten.
            return unsafe { memcpy(to, from, length) };
        }
        // SAFETY: as the caller promises. It copies from the last byte to the first, because the
        // end of the source overlaps the destination; the direction flag is cleared again.
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
        // SAFETY: the caller promises that `length` bytes may be written at `to`.
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
            // SAFETY: the caller promises that `length` bytes of both may be read.
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
        // SAFETY: as the caller promises.
        unsafe { memcmp(one, two, length) }
    }

    /// # Safety
    ///
    /// As in C.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn strlen(text: *const u8) -> usize {
        let length: usize;
        // SAFETY: the caller promises that a zero byte ends the text; nothing past it is read.
        unsafe {
            asm!(
                "repne scasb",
                inout("rcx") usize::MAX => length,
                inout("rdi") text => _,
                in("al") 0u8,
                options(nostack, readonly),
            );
        }
        // `rcx` has counted down to -(length + 2).
        !length - 1
    }
}
