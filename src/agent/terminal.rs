//! A terminal for programs that ask for passwords nowhere else. Only questions go through it: the streams of the
//! program stay pipes, so frames pass untouched.

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Our end of it.
pub(super) struct Terminal {
    outer: std::fs::File,
    /// Kept open, or reading fails as long as nobody else has the other end.
    inner: OwnedFd,
}

impl Terminal {
    /// A new one.
    pub fn open() -> std::io::Result<Terminal> {
        let outer = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&outer)?;
        unlockpt(&outer)?;
        let name = ptsname(&outer, Vec::new())?;
        let inner = rustix::fs::open(
            name.as_c_str(),
            rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC,
            rustix::fs::Mode::empty(),
        )?;
        Ok(Terminal { outer: outer.into(), inner })
    }

    /// The end that the program gets.
    pub fn inner(&self) -> std::io::Result<OwnedFd> {
        self.inner.try_clone()
    }

    /// Makes it the controlling terminal of this process, which must be a session leader without one.
    pub fn make_controlling(inner: &OwnedFd) -> std::io::Result<()> {
        // SAFETY: TIOCSCTTY takes an integer; the descriptor is open.
        match unsafe { libc::ioctl(inner.as_raw_fd(), libc::TIOCSCTTY, 0) } {
            -1 => Err(std::io::Error::last_os_error()),
            _ => Ok(()),
        }
    }

    /// What was asked.
    pub fn read(&mut self, buffer: &mut [u8]) -> usize {
        self.outer.read(buffer).unwrap_or(0)
    }

    /// Answers.
    pub fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.outer.write_all(bytes)
    }
}

impl AsFd for Terminal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.outer.as_fd()
    }
}
