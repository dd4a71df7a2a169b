//! System calls, process entry, and the four C library functions that the compiler needs.
//!
//! All `unsafe` code of the floor is here.

use core::arch::{asm, naked_asm};
use core::ffi::{CStr, c_char};
use core::{ptr, slice};

const READ: usize = 0;
const WRITE: usize = 1;
const MMAP: usize = 9;
const SOCKET: usize = 41;
const CONNECT: usize = 42;
const SETSOCKOPT: usize = 54;
const EXIT_GROUP: usize = 231;

/// The entry point of the process. The stack pointer points to the number of arguments.
#[unsafe(naked)]
#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    naked_asm!("mov rdi, rsp", "and rsp, -16", "call {start}", start = sym start)
}

/// # Safety
///
/// `stack` must be the stack pointer with which the process was started.
unsafe extern "C" fn start(stack: *const usize) -> ! {
    // SAFETY: according to the System V ABI for x86_64, this points to the number of arguments, a
    // pointer to each, a null pointer, a pointer to each environment variable, and a null pointer.
    // All of them live as long as the process.
    let (arguments, environment) = unsafe {
        let first = stack.add(1).cast::<*const c_char>();
        (Strings(first), Strings(first.add(*stack + 1)))
    };
    crate::run(arguments, environment)
}

/// A list of C strings that ends with a null pointer.
pub(crate) struct Strings(*const *const c_char);

impl Iterator for Strings {
    type Item = &'static [u8];

    fn next(&mut self) -> Option<&'static [u8]> {
        // SAFETY: `start` has made it from a list that ends with a null pointer, and nothing past
        // that is read.
        unsafe {
            let string = *self.0;
            if string.is_null() {
                return None;
            }
            self.0 = self.0.add(1);
            Some(CStr::from_ptr(string).to_bytes())
        }
    }
}

/// Makes a system call.
///
/// # Safety
///
/// Pointers among the arguments must be valid for what this system call does with them.
#[inline(always)]
unsafe fn call(number: usize, arguments: [usize; 6]) -> isize {
    let [one, two, three, four, five, six] = arguments;
    let result: isize;
    // SAFETY: these are the registers of Linux on x86_64; the kernel clobbers `rcx` and `r11`.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") one, in("rsi") two, in("rdx") three, in("r10") four, in("r8") five, in("r9") six,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// Connects to this address, with Nagle's algorithm turned off.
pub(crate) fn connect(ip: [u8; 4], port: u16) -> Option<usize> {
    const AF_INET: usize = 2;
    const SOCK_STREAM: usize = 1;
    const IPPROTO_TCP: usize = 6;
    const TCP_NODELAY: usize = 1;
    let [high, low] = port.to_be_bytes();
    let [a, b, c, d] = ip;
    let address = [AF_INET as u8, 0, high, low, a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0];
    let on = 1_u32;
    // SAFETY: the kernel reads `address` and `on`, of these lengths, and keeps neither.
    unsafe {
        let socket = call(SOCKET, [AF_INET, SOCK_STREAM, 0, 0, 0, 0]);
        let socket = usize::try_from(socket).ok()?;
        let to = address.as_ptr().addr();
        if call(CONNECT, [socket, to, address.len(), 0, 0, 0]) != 0 {
            return None;
        }
        let on = ptr::from_ref(&on).addr();
        call(SETSOCKOPT, [socket, IPPROTO_TCP, TCP_NODELAY, on, 4, 0]);
        Some(socket)
    }
}

/// The number of bytes read: 0 at the end, negative on failure.
#[inline(always)]
pub(crate) fn read(file: usize, room: &mut [u8]) -> isize {
    // SAFETY: the kernel writes only into `room`, and bytes have no invalid values.
    unsafe { call(READ, [file, room.as_mut_ptr().expose_provenance(), room.len(), 0, 0, 0]) }
}

/// The number of bytes written; negative on failure.
#[inline(always)]
pub(crate) fn write(file: usize, bytes: &[u8]) -> isize {
    // SAFETY: the kernel only reads `bytes`.
    unsafe { call(WRITE, [file, bytes.as_ptr().expose_provenance(), bytes.len(), 0, 0, 0]) }
}

/// Zeroed memory. Only touched pages of it are resident.
pub(crate) fn memory(length: usize) -> &'static mut [u8] {
    const READ_AND_WRITE: usize = 1 | 2;
    const PRIVATE_AND_ANONYMOUS: usize = 2 | 32;
    // SAFETY: a new mapping has no other references, and it is never unmapped.
    unsafe {
        let flags = [0, length, READ_AND_WRITE, PRIVATE_AND_ANONYMOUS, usize::MAX, 0];
        let Ok(start @ 4096..) = usize::try_from(call(MMAP, flags)) else { exit(1) };
        slice::from_raw_parts_mut(ptr::with_exposed_provenance_mut(start), length)
    }
}

pub(crate) fn exit(code: usize) -> ! {
    // SAFETY: it takes no pointers.
    unsafe { call(EXIT_GROUP, [code, 0, 0, 0, 0, 0]) };
    loop {
        core::hint::spin_loop();
    }
}

/// # Safety
///
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    // SAFETY: as the caller promises; the direction flag is clear on entry to every function.
    unsafe {
        asm!("rep movsb", inout("rcx") length => _, inout("rdi") to => _, inout("rsi") from => _);
    }
    to
}

/// # Safety
///
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, value: i32, length: usize) -> *mut u8 {
    // SAFETY: as the caller promises; the direction flag is clear on entry to every function.
    unsafe {
        asm!("rep stosb", inout("rcx") length => _, inout("rdi") to => _, in("al") value as u8);
    }
    to
}

/// # Safety
///
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(one: *const u8, other: *const u8, length: usize) -> i32 {
    // SAFETY: as the caller promises, for all bytes that are read. The reads are volatile, so that
    // the compiler does not turn this into a call of itself.
    unsafe {
        let mut at = 0;
        let word = |of: *const u8, at| of.add(at).cast::<u64>().read_unaligned();
        while at + 8 <= length && word(one, at) == word(other, at) {
            at += 8;
        }
        while at < length {
            let (one, other) = (one.add(at).read_volatile(), other.add(at).read_volatile());
            if one != other {
                return i32::from(one) - i32::from(other);
            }
            at += 1;
        }
    }
    0
}

/// # Safety
///
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(string: *const c_char) -> usize {
    let mut length = 0;
    // SAFETY: as the caller promises. The read is volatile, so that the compiler does not turn this
    // into a call of itself.
    while unsafe { string.add(length).read_volatile() } != 0 {
        length += 1;
    }
    length
}
