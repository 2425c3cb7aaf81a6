//! A question to the person at the terminal, and what they type. Ctrl-C ends the question, never the process with the
//! terminal in disorder.

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use std::fs::File;
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::sync::Mutex;

/// One question at a time.
static ASKING: Mutex<()> = Mutex::new(());

/// Asks on the controlling terminal, so that redirected streams do not matter. An error of the kind `Interrupted` means
/// that Ctrl-C was pressed.
pub fn ask(question: &str, hidden: bool) -> Result<String> {
    let _one = ASKING.lock().unwrap_or_else(|p| p.into_inner());
    let mut terminal = File::options().read(true).write(true).open("/dev/tty")?;
    let modes = terminal.try_clone()?;
    let quiet = Quiet::new(&modes)?;
    terminal.write_all(question.as_bytes())?;
    let typed = line(&mut terminal, hidden);
    let end = if matches!(&typed, Err(error) if error.kind() == ErrorKind::Interrupted) { "^C\n" } else { "\n" };
    let _ = terminal.write_all(end.as_bytes());
    drop(quiet);
    typed
}

/// A terminal that hands over each key, shows none, and makes no signal of Ctrl-C; as before when it is dropped.
struct Quiet<'a> {
    terminal: &'a File,
    before: Termios,
}

impl Quiet<'_> {
    fn new(terminal: &File) -> Result<Quiet<'_>> {
        let before = tcgetattr(terminal)?;
        let mut modes = before.clone();
        modes.local_modes -= LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG | LocalModes::IEXTEN;
        modes.special_codes[SpecialCodeIndex::VMIN] = 1;
        modes.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(terminal, OptionalActions::Drain, &modes)?;
        Ok(Quiet { terminal, before })
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        let _ = tcsetattr(self.terminal, OptionalActions::Drain, &self.before);
    }
}

/// What is typed up to Enter, with the keys that correct it.
fn line(terminal: &mut (impl Read + Write), hidden: bool) -> Result<String> {
    let mut typed: Vec<u8> = Vec::new();
    let mut byte = [0];
    loop {
        match terminal.read(&mut byte) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => continue, // a signal of another kind
            Err(error) => return Err(error),
        }
        let mut erased = 0;
        match byte[0] {
            b'\r' | b'\n' => {
                return String::from_utf8(typed).map_err(|_| Error::new(ErrorKind::InvalidData, "this is not UTF-8"));
            }
            0x03 => return Err(Error::new(ErrorKind::Interrupted, "Ctrl-C was pressed")),
            0x04 if typed.is_empty() => return Err(ErrorKind::UnexpectedEof.into()),
            0x08 | 0x7f => erased = usize::from(pop(&mut typed)),
            0x15 => {
                while pop(&mut typed) {
                    erased += 1;
                }
            }
            key if key < 0x20 && key != b'\t' => {} // arrows and their like have no meaning here
            key => {
                typed.push(key);
                if !hidden {
                    terminal.write_all(&byte)?;
                }
            }
        }
        if !hidden {
            terminal.write_all("\u{8} \u{8}".repeat(erased).as_bytes())?;
        }
    }
}

/// Takes the last character away, however many bytes it has; false when there is none.
fn pop(typed: &mut Vec<u8>) -> bool {
    while let Some(byte) = typed.pop() {
        if byte & 0xc0 != 0x80 {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    struct Keys(Cursor<Vec<u8>>, Vec<u8>);
    impl Read for Keys {
        fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
            self.0.read(buffer)
        }
    }
    impl Write for Keys {
        fn write(&mut self, bytes: &[u8]) -> Result<usize> {
            self.1.write(bytes)
        }
        fn flush(&mut self) -> Result<()> {
            Ok(())
        }
    }

    #[test]
    fn keys_that_correct_a_line() {
        for (keys, expected) in [
            ("secret\r", Ok("secret")),
            ("sä\u{7f}x\n", Ok("sx")),
            ("wrong\u{15}right\r", Ok("right")),
            ("half\u{3}", Err(ErrorKind::Interrupted)),
            ("\u{4}", Err(ErrorKind::UnexpectedEof)),
            ("cut off", Err(ErrorKind::UnexpectedEof)),
        ] {
            let mut terminal = Keys(Cursor::new(keys.as_bytes().to_vec()), Vec::new());
            let typed = line(&mut terminal, true).map_err(|e| e.kind());
            assert_eq!(typed.as_deref(), expected.as_deref(), "{keys:?}");
            assert!(terminal.1.is_empty(), "a hidden answer is not shown");
        }
    }
}
