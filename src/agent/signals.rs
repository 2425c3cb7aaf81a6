//! The session's signals do not end the agent: a request in hand is finished.

/// Signals that a closing session may send.
const SESSION: [libc::c_int; 4] = [libc::SIGINT, libc::SIGHUP, libc::SIGTERM, libc::SIGQUIT];

extern "C" fn nothing(_: libc::c_int) {}

/// From now on they do nothing. A handler, not `SIG_IGN`: processes that modules start must get the defaults back,
/// and only handlers are reset on exec. SIGPIPE is ignored by Rust's runtime already.
pub(super) fn ignore() {
    for signal in SESSION {
        // SAFETY: `sigaction` is given a zeroed, then filled structure and a handler that does nothing at all.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = nothing as *const () as usize;
            action.sa_flags = libc::SA_RESTART;
            libc::sigemptyset(&mut action.sa_mask);
            libc::sigaction(signal, &action, std::ptr::null_mut());
        }
    }
}

/// Gives up the terminal through which a password was asked, so that what modules start finds none.
pub(super) fn leave_terminal() {
    if rustix::process::setsid().is_ok() {
        return;
    }
    if let Ok(terminal) = std::fs::File::options().read(true).write(true).open("/dev/tty") {
        use std::os::fd::AsRawFd;
        // SAFETY: TIOCNOTTY takes no argument, and the descriptor is open.
        unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCNOTTY) };
    }
}
