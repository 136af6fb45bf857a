//! Questions to the person at the terminal: a name, a yes, a password that is not shown.
//!
//! Only where standard input is a terminal; a program is never waited for. Secrets come from here or from files, never
//! from the command line.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};
use std::path::{Path, PathBuf};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::ending::Failure;
use crate::safe_file;

/// Whether there is somebody to ask.
pub(crate) fn is_somebody_there() -> bool {
    io::stdin().is_terminal()
}

/// Asks for a yes.
///
/// # Errors
/// Nobody is there, or the answer is no.
pub(crate) fn confirm(question: &str) -> Result<(), Failure> {
    if !is_somebody_there() {
        return Err(Failure::failed(
            "nothing was changed: nobody is at the terminal to say yes; look at the plan and add --yes",
        ));
    }
    match line(&format!("{question} [y/N] "))?.as_str() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Failure::failed("nothing was changed")),
    }
}

/// Asks for a name.
///
/// # Errors
/// Nobody is there; `mend` says what to do then.
pub(crate) fn name(question: &str, mend: &str) -> Result<String, Failure> {
    if !is_somebody_there() {
        return Err(Failure::usage(mend));
    }
    line(&format!("{question}: "))
}

/// A password: the first line of `file`, of standard input if it is `-`, or from the terminal without showing it.
///
/// # Errors
/// There is none to be had.
pub(crate) async fn password(
    file: Option<&PathBuf>,
    of: &str,
    twice: bool,
) -> Result<String, Failure> {
    let password = match file {
        Some(file) if file.as_os_str() == "-" => {
            let mut text = String::new();
            io::stdin()
                .lock()
                .take(SECRET_BYTES_MAX)
                .read_line(&mut text)
                .map_err(|error| Failure::failed(format!("standard input: {error}")))?;
            first_line(&text)
        }
        Some(file) => secret(file)?,
        None => {
            let password = hidden(&format!("password of {of}: ")).await?;
            if twice && hidden("again: ").await? != password {
                return Err(Failure::failed(
                    "the two are not the same; nothing was changed",
                ));
            }
            password
        }
    };
    if password.is_empty() {
        return Err(Failure::failed(
            "the password is empty; nothing was changed",
        ));
    }
    Ok(password)
}

/// The first line of a file that only its owner can read.
///
/// # Errors
/// It cannot be read, or by others too.
pub(crate) fn secret(file: &Path) -> Result<String, Failure> {
    Ok(first_line(&safe_file::read_secret(file)?))
}

/// Bytes of a secret on standard input: a password has at most 256.
const SECRET_BYTES_MAX: u64 = 4096;

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

fn line(question: &str) -> Result<String, Failure> {
    let mut error = io::stderr();
    let _ = write!(error, "{question}");
    let _ = error.flush();
    let mut answer = String::new();
    io::stdin()
        .lock()
        .take(SECRET_BYTES_MAX)
        .read_line(&mut answer)
        .map_err(|error| Failure::failed(format!("the terminal: {error}")))?;
    Ok(answer.trim().to_owned())
}

async fn hidden(question: &str) -> Result<String, Failure> {
    if !is_somebody_there() {
        return Err(Failure::usage(
            "nobody is at the terminal to be asked for the password; write --password-file FILE, or - for standard input",
        ));
    }
    let mut interrupt = signal(SignalKind::interrupt())
        .map_err(|error| Failure::failed(format!("no signal handler: {error}")))?;
    let failed = |error: rustix::io::Errno| Failure::failed(format!("the terminal: {error}"));
    let before = tcgetattr(io::stdin()).map_err(failed)?;
    let mut quiet = before.clone();
    quiet.local_modes.remove(LocalModes::ECHO);
    quiet.local_modes.insert(LocalModes::ECHONL);
    tcsetattr(io::stdin(), OptionalActions::Flush, &quiet).map_err(failed)?;
    let _shown_again = Shown(before);
    let mut error = io::stderr();
    let _ = write!(error, "{question}");
    let _ = error.flush();
    let (told, answer) = oneshot::channel();
    // By a thread of its own, so that an interrupt ends the question and not the program with a terminal that shows
    // nothing any more.
    std::thread::spawn(move || {
        let mut answer = String::new();
        let read = io::stdin()
            .lock()
            .take(SECRET_BYTES_MAX)
            .read_line(&mut answer)
            // Blanks are part of a password.
            .map(|_bytes| first_line(&answer));
        let _ = told.send(read);
    });
    tokio::select! {
        answer = answer => match answer {
            Ok(answer) => answer.map_err(|error| Failure::failed(format!("the terminal: {error}"))),
            Err(_gone) => Err(Failure::failed("the terminal cannot be read")),
        },
        _ = interrupt.recv() => Err(Failure::failed("interrupted; nothing was changed")),
    }
}

/// Gives the terminal back as it was, whatever happens.
struct Shown(Termios);

impl Drop for Shown {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}
