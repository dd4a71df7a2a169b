//! Why a program cannot be started, and what to do about it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// Refuses a program that cannot be started, as far as that is known without starting it.
///
/// `path` is the `PATH` of the function, if that is not the one of the lab.
///
/// # Errors
///
/// A sentence that names the program and says what to do.
pub(crate) fn check(program: &OsStr, path: Option<&OsStr>) -> Result<(), String> {
    match find(program, path).and_then(|file| check_file(&file, path)) {
        Ok(()) => Ok(()),
        Err(Problem::Missing(remedy)) => Err(format!("no program {}: {remedy}", program.display())),
        Err(Problem::Other(reason)) => Err(format!("cannot start {}: {reason}", program.display())),
    }
}

/// Why this program could not be started, in the words of [`check`] where it would have said so.
pub(crate) fn explain(program: &OsStr, path: Option<&OsStr>, error: &io::Error) -> String {
    let is_about_file = matches!(
        Errno::from_io_error(error),
        Some(Errno::NOENT | Errno::ACCESS | Errno::NOEXEC | Errno::NOTDIR | Errno::ISDIR)
    );
    let found = is_about_file.then(|| find(program, path));
    let reason = match found {
        None => None,
        Some(Err(problem)) => Some(problem),
        Some(Ok(file)) => check_file(&file, path).err().or_else(|| why(&file, error)),
    };
    match reason {
        Some(Problem::Missing(remedy)) => format!("{error}; {remedy}"),
        Some(Problem::Other(reason)) => reason,
        None => format!("{error}{}", remedy(error).unwrap_or_default()),
    }
}

/// The executable file that a name or a path stands for.
///
/// `path` is the `PATH` of the function, if that is not the one of the lab.
pub(crate) fn look_up(program: &OsStr, path: Option<&OsStr>) -> Option<PathBuf> {
    which::which_in(program, Some(in_effect(path)), ".").ok()
}

/// The `PATH` in which the system looks for the programs of the function: its own, or the one that
/// it inherits.
pub(crate) fn in_effect(path: Option<&OsStr>) -> OsString {
    path.map(OsStr::to_owned).or_else(|| std::env::var_os("PATH")).unwrap_or_default()
}

/// What to do when the system has no more of what is needed, to be written after the error.
pub(crate) fn remedy(error: &io::Error) -> Option<&'static str> {
    Some(match Errno::from_io_error(error)? {
        Errno::MFILE => {
            "; the lab has no file descriptors left: raise its limit with ulimit -n, or use fewer \
             environments and callers"
        }
        Errno::NFILE => "; the system has no file descriptors left: end other programs",
        Errno::AGAIN => {
            "; there are too many processes or threads: raise the limit with ulimit -u, or end some"
        }
        Errno::TXTBSY => "; the program is still being written: wait until it has been built",
        Errno::TOOBIG => "; the arguments and the environment are too long: shorten them",
        _ => return None,
    })
}

/// What to do about an address at which the lab cannot listen.
pub(crate) fn listening(error: &io::Error) -> &'static str {
    remedy(error).unwrap_or(match error.kind() {
        io::ErrorKind::AddrNotAvailable => "; choose an address of this machine",
        _ => "; choose another port",
    })
}

enum Problem {
    /// There is no such file; the text says what to do.
    Missing(String),
    Other(String),
}

/// The file that is started.
fn find(program: &OsStr, path: Option<&OsStr>) -> Result<PathBuf, Problem> {
    if let Some(file) = look_up(program, path) {
        return Ok(file);
    }
    let name = program.display();
    let is_path = program.as_bytes().contains(&b'/');
    let unsuitable = if is_path {
        Some(PathBuf::from(program)).filter(|it| it.exists())
    } else {
        let path = in_effect(path);
        let mut files = std::env::split_paths(&path).map(|it| it.join(program));
        files.find(|file| file.is_file())
    };
    Err(match unsuitable {
        Some(folder) if folder.is_dir() => {
            Problem::Other("it is a folder: give the path of an executable file".into())
        }
        Some(file) => Problem::Other(not_executable(&file)),
        None if is_path => {
            Problem::Missing("give the path of an executable file, and build it first".into())
        }
        None => {
            Problem::Missing(format!("it is not in PATH; write ./{name} if it is in this folder"))
        }
    })
}

/// Why a file that is not executable is not started. `chmod` helps with programs and scripts only.
fn not_executable(file: &Path) -> String {
    let mut head = [0; 4];
    match File::open(file).and_then(|it| it.read_at(&mut head, 0)).map(|read| &head[..read]) {
        Ok([]) => "the file is empty: build it first".into(),
        // The last two are those of macOS.
        Err(_)
        | Ok([b'#', b'!', ..] | b"\x7fELF")
        | Ok([0xcf | 0xce, 0xfa, 0xed, 0xfe] | [0xca, 0xfe, 0xba, 0xbe]) => {
            format!("it is not executable: run chmod +x {}", file.display())
        }
        Ok(_) => "it is not a program: give the path of an executable file, or of a script whose \
                  first line names its interpreter, as #!/bin/sh does"
            .into(),
    }
}

/// Refuses a script whose interpreter cannot be started.
fn check_file(file: &Path, path: Option<&OsStr>) -> Result<(), Problem> {
    let Some(line) = first_line(file) else { return Ok(()) };
    let Some((interpreter, argument)) = interpreter(&line) else {
        return Err(Problem::Other("its first line, #!, names no interpreter".into()));
    };
    // `env` looks for its argument in `PATH`.
    let is_env = interpreter.ends_with(b"/env");
    let named = match argument {
        Some(argument) if is_env && !argument.starts_with(b"-") && !argument.contains(&b'=') => {
            argument
        }
        _ => interpreter,
    };
    // A name without a slash is looked up in `PATH` by `env` only.
    let is_local = named == interpreter && !named.contains(&b'/');
    let sought = if is_local { [b"./", named].concat() } else { named.to_vec() };
    let problem = match find(OsStr::from_bytes(&sought), path) {
        Ok(_) => return Ok(()),
        Err(Problem::Missing(_)) if named == interpreter => "does not exist",
        Err(Problem::Missing(_)) => "is not in PATH",
        Err(Problem::Other(_)) => "is not executable",
    };
    let named = String::from_utf8_lossy(named);
    Err(Problem::Other(match named.strip_suffix('\r') {
        Some(name) => format!(
            "the interpreter {named:?} {problem}: the first line ends with CR LF, so the CR belongs \
             to the name {name}; convert the file, for instance with sed -i 's/\\r$//' {}",
            file.display()
        ),
        None => format!(
            "the interpreter {named:?} of its first line {problem}: install it, or correct the line"
        ),
    }))
}

/// Why the system does not start a file that is there, and executable.
fn why(file: &Path, error: &io::Error) -> Option<Problem> {
    Some(Problem::Other(match Errno::from_io_error(error)? {
        Errno::NOENT => {
            let loader = Elf::open(file)?.loader()?;
            if Path::new(&loader).exists() {
                return None;
            }
            format!(
                "its dynamic loader {loader} does not exist: build it for this system, or link it \
                 statically"
            )
        }
        Errno::ACCESS => format!(
            "{error}; its file system is mounted with noexec, or one of its folders may not be \
             searched"
        ),
        Errno::NOEXEC => {
            let mut head = [0; 4];
            let read = File::open(file).and_then(|it| it.read_at(&mut head, 0)).ok()?;
            match (&head[..read], Elf::open(file).map(|it| it.machine())) {
                (_, Some(machine)) => format!(
                    "it is built for {machine}, and this machine is {}: build it for this one",
                    std::env::consts::ARCH
                ),
                ([], _) => "the file is empty: build it first".into(),
                ([0xcf | 0xce, 0xfa, 0xed, 0xfe] | [0xca, 0xfe, 0xba, 0xbe], _) => {
                    "it is built for macOS: build it for this system".into()
                }
                ([b'M', b'Z', ..], _) => "it is built for Windows: build it for Linux".into(),
                _ => {
                    "it is neither an executable of this system nor a script: a script begins with \
                      its interpreter, such as #!/bin/sh"
                        .into()
                }
            }
        }
        _ => return None,
    }))
}

/// The first line of a script, from `#!`. `None` if this is no script, or the line is too long.
///
/// Source: Linux, `fs/binfmt_script.c`.
fn first_line(file: &Path) -> Option<Vec<u8>> {
    let mut head = [0; 256];
    let read = File::open(file).and_then(|it| it.read_at(&mut head, 0)).ok()?;
    let head = &head[..read];
    let end = head.iter().position(|byte| *byte == b'\n');
    let end = end.or_else(|| (read < 256).then_some(read))?;
    head[..end].starts_with(b"#!").then(|| head[..end].to_vec())
}

/// The interpreter that a first line names, and its argument.
fn interpreter(line: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let trim = |mut text: &[u8]| -> std::ops::Range<usize> {
        let all = text.len();
        while let [first, rest @ ..] = text
            && is_blank(first)
        {
            text = rest;
        }
        let start = all - text.len();
        while let [rest @ .., last] = text
            && is_blank(last)
        {
            text = rest;
        }
        start..start + text.len()
    };
    let words = &line[2..];
    let words = &words[trim(words)];
    let end = words.iter().position(is_blank).unwrap_or(words.len());
    let (interpreter, argument) = words.split_at(end);
    let argument = &argument[trim(argument)];
    let argument = Some(argument).filter(|it| !it.is_empty());
    (!interpreter.is_empty()).then_some((interpreter, argument))
}

/// A program in the format ELF, 64 bit and little endian.
///
/// Source: elf(5).
struct Elf {
    file: File,
    header: [u8; 64],
}

impl Elf {
    fn open(path: &Path) -> Option<Self> {
        let file = File::open(path).ok()?;
        let mut header = [0; 64];
        file.read_exact_at(&mut header, 0).ok()?;
        header.starts_with(b"\x7fELF\x02\x01").then_some(Self { file, header })
    }

    fn machine(&self) -> String {
        let number = u16::from_le_bytes([self.header[18], self.header[19]]);
        match number {
            62 => "x86_64".into(),
            183 => "aarch64".into(),
            243 => "riscv64".into(),
            number => format!("ELF machine type {number}"),
        }
    }

    /// The program that loads this one, in the first segment of the type `PT_INTERP`.
    fn loader(&self) -> Option<String> {
        let number = |bytes: &[u8]| Some(u64::from_le_bytes(bytes.try_into().ok()?));
        let short =
            |at: usize| u64::from(u16::from_le_bytes([self.header[at], self.header[at + 1]]));
        let (table, size, count) = (number(&self.header[32..40])?, short(54), short(56));
        (0..count).find_map(|index| {
            let mut segment = [0; 40];
            let at = table.checked_add(index * size)?;
            self.file.read_exact_at(&mut segment, at).ok()?;
            if segment[..4] != [3, 0, 0, 0] {
                return None;
            }
            let mut name = vec![0; usize::try_from(number(&segment[32..])?).ok()?.min(4096)];
            self.file.read_exact_at(&mut name, number(&segment[8..16])?).ok()?;
            Some(String::from_utf8_lossy(name.strip_suffix(b"\0")?).into_owned())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    use super::*;

    /// A file that is gone after the test.
    struct Written(PathBuf);

    impl Written {
        fn new(name: &str, content: impl AsRef<[u8]>, mode: u32) -> Self {
            let name = format!("lambda-lab-program-{}-{name}", std::process::id());
            let file = std::env::temp_dir().join(name);
            std::fs::write(&file, content).unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            Self(file)
        }

        fn checked(&self) -> Result<(), String> {
            check(self.0.as_os_str(), None)
        }

        /// What is said when it has been started in vain.
        fn explained(&self) -> String {
            let mut tries = 0;
            loop {
                // The way in which the lab starts programs.
                let mut command = Command::new(&self.0);
                std::os::unix::process::CommandExt::process_group(&mut command, 0);
                let error = command.spawn().map(|_| ()).unwrap_err();
                // A thread that forked while the file was being written still has it open.
                if Errno::from_io_error(&error) != Some(Errno::TXTBSY) || tries == 1000 {
                    return explain(self.0.as_os_str(), None, &error);
                }
                tries += 1;
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        }
    }

    impl Drop for Written {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    #[test]
    fn what_the_check_refuses_is_explained_in_the_same_words_after_a_start() {
        for (name, content, mode, words) in [
            ("mode", "#!/bin/sh\n", 0o644, "not executable: run chmod +x "),
            ("elf", "\x7fELF", 0o644, "not executable: run chmod +x "),
            ("text", "{}\n", 0o644, "it is not a program: give the path of an executable file"),
            ("nothing", "", 0o644, "the file is empty: build it first"),
            ("crlf", "#!/bin/sh\r\n", 0o755, "\"/bin/sh\\r\" does not exist: the first line ends"),
            ("env", "#!/usr/bin/env no-such-python\n", 0o755, "\"no-such-python\" of its first"),
            ("env-crlf", "#! /usr/bin/env\tsh\r\n", 0o755, "\"sh\\r\" is not in PATH: the first"),
            ("gone", "#!/no/such -x\n", 0o755, "\"/no/such\" of its first line does not exist"),
            ("local", "#!sh\n", 0o755, "\"sh\" of its first line does not exist"),
            ("data", "#!/etc/passwd", 0o755, "\"/etc/passwd\" of its first line is not executable"),
            ("none", "#! \n", 0o755, "names no interpreter"),
        ] {
            let file = Written::new(name, content, mode);
            let checked = file.checked().unwrap_err();
            assert!(checked.contains(words), "{name}: {checked}");
            let file_name = file.0.display().to_string();
            assert!(checked.starts_with(&format!("cannot start {file_name}: ")), "{checked}");
            if !name.starts_with("env") {
                let explained = file.explained();
                assert_eq!(checked, format!("cannot start {file_name}: {explained}"));
            }
        }
    }

    #[test]
    fn scripts_that_start_pass_the_check() {
        for (name, content) in [
            ("plain", "#!/bin/sh\nexit"),
            ("blank", "#!  /bin/sh  -e \nexit"),
            ("looked-up", "#!/usr/bin/env sh\nexit"),
            ("split", "#!/usr/bin/env -S sh -e\nexit"),
            ("short", "#!/bin/sh"),
        ] {
            let file = Written::new(name, content, 0o755);
            assert_eq!(file.checked(), Ok(()), "{name}");
            assert!(Command::new("/bin/sh").arg("-c").arg(&file.0).status().is_ok());
        }
        assert_eq!(check(OsStr::new("sh"), None), Ok(()));
        let gone = check(OsStr::new("sh"), Some(OsStr::new("/no/such/folder"))).unwrap_err();
        assert!(gone.contains("it is not in PATH"), "{gone}");
        assert!(check(OsStr::new("/"), None).unwrap_err().contains("it is a folder"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_in_a_wrong_format_is_explained() {
        let mut foreign = std::fs::read("/proc/self/exe").unwrap();
        foreign.truncate(64);
        // A machine of 1997 that has no emulator.
        foreign[18..20].copy_from_slice(&[42, 0]);
        for (name, content, words) in [
            ("foreign", &foreign[..], "it is built for ELF machine type 42, and this"),
            ("empty", b"", "the file is empty"),
            ("text", b"exec true\n", "a script begins with its interpreter, such as"),
            ("mac", b"\xcf\xfa\xed\xfe\0\0", "built for macOS"),
            ("windows", b"MZ\0\0", "built for Windows"),
        ] {
            let file = Written::new(name, content, 0o755);
            assert_eq!(file.checked(), Ok(()), "{name}");
            let explained = file.explained();
            assert!(explained.contains(words), "{name}: {explained}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_dynamic_loader_that_does_not_exist_is_named() {
        let program = std::fs::read("/bin/sh").unwrap();
        let Some(loader) = Elf::open(Path::new("/bin/sh")).and_then(|it| it.loader()) else {
            return;
        };
        let at = program.windows(loader.len()).position(|it| it == loader.as_bytes()).unwrap();
        let mut changed = program;
        changed[at + 1] = b'X';
        let file = Written::new("loader", changed, 0o755);
        let explained = file.explained();
        assert!(explained.starts_with("its dynamic loader /X"), "{explained}");
    }

    #[test]
    fn a_lack_of_descriptors_is_explained() {
        let error = Errno::MFILE.into();
        let explained = explain(OsStr::new("/bin/sh"), None, &error);
        assert!(explained.contains("ulimit -n"), "{explained}");
    }
}
