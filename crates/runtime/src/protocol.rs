// SPDX-License-Identifier: Apache-2.0
//! What a keeper and those who talk to it say: one message each, the first byte tells which.
//!
//! | asked | bytes | meaning |
//! |---|---|---|
//! | `A` | stdin: 0 or 1 | connect me to the output (and the input) |
//! | `I` | bytes | input |
//! | `C` | | no more input |
//! | `R` | rows, columns: u16 | the terminal's size |
//! | `S` | signal: i32, timeout: u64 ms | stop: this signal, then SIGKILL |
//! | `K` | signal: i32 | this signal |
//! | `Q` | again: 0 or 1, timeout: u64 ms | the init of a whole system is to end everything (and begin again), then SIGKILL |
//! | `Z` | | tell me when everything is up |
//! | `W` | | tell me how it ends |
//! | `P` | policy | the restart policy has changed |
//! | `F` | with a descriptor | the listener of the filter of a further program |
//! | `T` | JSON | a change of its networks, for who has attached it |
//!
//! | answered | bytes | meaning |
//! |---|---|---|
//! | `Y` | pid: i32 | it runs |
//! | `N` | kind: u8, text | it could not be started |
//! | `O` `E` | bytes | output, error output |
//! | `X` | code: i32 | it has ended for good |
//! | `D` | | done |
//! | `B` | text | refused |
//! | `V` | text | a warning |
//! | `U` | | everything is up |
//! | `M` | JSON | what came of a change of its networks |

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use kernel::{Errno, Error, Result};

use crate::init::Order;
use crate::launch::{Failure, FailureKind};
use crate::log::Stream;

/// The largest message.
pub(crate) const LARGEST: usize = 64 * 1024;

/// What is asked of a keeper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Connect me to the output, and the input if so.
    Attach {
        /// To the input too.
        input: bool,
    },
    /// Input.
    Input(Vec<u8>),
    /// No more input.
    CloseInput,
    /// The terminal's size.
    Resize {
        /// Lines.
        rows: u16,
        /// Columns.
        columns: u16,
    },
    /// Ask it to end, and end it after the time.
    Stop {
        /// The signal.
        signal: i32,
        /// Milliseconds.
        timeout_ms: u64,
    },
    /// Send a signal.
    Kill {
        /// The signal.
        signal: i32,
    },
    /// The init of a whole system is told.
    Order {
        /// What.
        order: Order,
        /// Milliseconds until it is killed.
        timeout_ms: u64,
    },
    /// Tell me when everything is up.
    WaitReady,
    /// Tell me how it ends.
    Wait,
    /// The restart policy has changed.
    Policy(String),
    /// A change of its networks.
    Network(Vec<u8>),
    /// A further program's filter leaves system calls to the container's view; the listener comes with it.
    Listener,
}

/// What a keeper says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It runs.
    Started {
        /// Its first process.
        pid: i32,
    },
    /// It could not be started.
    Failed(Failure),
    /// Output.
    Output(Stream, Vec<u8>),
    /// It has ended for good.
    Exited {
        /// Exit code.
        code: i32,
    },
    /// Done.
    Done,
    /// Refused.
    Refused(String),
    /// A warning.
    Warning(String),
    /// What came of a change of its networks.
    Network(Vec<u8>),
    /// Everything is up.
    Ready,
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

impl Request {
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Attach { input } => vec![b'A', u8::from(*input)],
            Self::Input(bytes) => [b"I".as_slice(), bytes.as_slice()].concat(),
            Self::CloseInput => vec![b'C'],
            Self::Resize { rows, columns } => [&[b'R'][..], &rows.to_le_bytes(), &columns.to_le_bytes()].concat(),
            Self::Stop { signal, timeout_ms } => {
                [&[b'S'][..], &signal.to_le_bytes(), &timeout_ms.to_le_bytes()].concat()
            }
            Self::Kill { signal } => [&[b'K'][..], &signal.to_le_bytes()].concat(),
            Self::Order { order, timeout_ms } => {
                [&[b'Q', u8::from(*order == Order::Reboot)][..], &timeout_ms.to_le_bytes()].concat()
            }
            Self::WaitReady => vec![b'Z'],
            Self::Wait => vec![b'W'],
            Self::Policy(policy) => [b"P".as_slice(), policy.as_bytes()].concat(),
            Self::Network(request) => [b"T".as_slice(), request].concat(),
            Self::Listener => vec![b'F'],
        }
    }

    pub(crate) fn decode(message: &[u8]) -> Option<Self> {
        let rest = message.get(1..)?;
        Some(match message.first()? {
            b'A' => Self::Attach { input: *rest.first()? == 1 },
            b'I' => Self::Input(rest.to_vec()),
            b'C' => Self::CloseInput,
            b'R' => Self::Resize {
                rows: u16::from_le_bytes(number(rest, 0)?),
                columns: u16::from_le_bytes(number(rest, 2)?),
            },
            b'S' => Self::Stop {
                signal: i32::from_le_bytes(number(rest, 0)?),
                timeout_ms: u64::from_le_bytes(number(rest, 4)?),
            },
            b'K' => Self::Kill { signal: i32::from_le_bytes(number(rest, 0)?) },
            b'Q' => Self::Order {
                order: if *rest.first()? == 1 { Order::Reboot } else { Order::PowerOff },
                timeout_ms: u64::from_le_bytes(number(rest, 1)?),
            },
            b'Z' => Self::WaitReady,
            b'W' => Self::Wait,
            b'P' => Self::Policy(String::from_utf8(rest.to_vec()).ok()?),
            b'T' => Self::Network(rest.to_vec()),
            b'F' => Self::Listener,
            _ => return None,
        })
    }
}

impl Answer {
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Started { pid } => [&[b'Y'][..], &pid.to_le_bytes()].concat(),
            Self::Failed(failure) => [&[b'N', failure.kind as u8], failure.message.as_bytes()].concat(),
            Self::Output(Stream::Output, bytes) => [b"O".as_slice(), bytes.as_slice()].concat(),
            Self::Output(Stream::Error, bytes) => [b"E".as_slice(), bytes.as_slice()].concat(),
            Self::Exited { code } => [&[b'X'][..], &code.to_le_bytes()].concat(),
            Self::Done => vec![b'D'],
            Self::Refused(text) => [b"B".as_slice(), text.as_bytes()].concat(),
            Self::Warning(text) => [b"V".as_slice(), text.as_bytes()].concat(),
            Self::Ready => vec![b'U'],
            Self::Network(answer) => [b"M".as_slice(), answer].concat(),
        }
    }

    pub(crate) fn decode(message: &[u8]) -> Option<Self> {
        let rest = message.get(1..)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Some(match message.first()? {
            b'Y' => Self::Started { pid: i32::from_le_bytes(number(rest, 0)?) },
            b'N' => Self::Failed(Failure {
                kind: match rest.first()? {
                    1 => FailureKind::NotFound,
                    2 => FailureKind::NotExecutable,
                    _ => FailureKind::Own,
                },
                message: text(rest.get(1..)?),
            }),
            b'O' => Self::Output(Stream::Output, rest.to_vec()),
            b'E' => Self::Output(Stream::Error, rest.to_vec()),
            b'X' => Self::Exited { code: i32::from_le_bytes(number(rest, 0)?) },
            b'D' => Self::Done,
            b'B' => Self::Refused(text(rest)),
            b'V' => Self::Warning(text(rest)),
            b'U' => Self::Ready,
            b'M' => Self::Network(rest.to_vec()),
            _ => return None,
        })
    }
}

/// The side of those who talk to a keeper.
#[derive(Debug)]
pub struct Connection(OwnedFd);

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Connection {
    /// An open connection.
    #[must_use]
    pub fn new(socket: OwnedFd) -> Self {
        Self(socket)
    }

    /// Connects to the keeper of a runtime directory.
    ///
    /// # Errors
    /// connect(2)'s.
    pub fn open(directory: &std::path::Path) -> Result<Self> {
        let directory = kernel::root::open_directory_path(directory)?;
        kernel::socket::connect_at(directory, crate::state::SOCKET).map(Self)
    }

    /// Asks.
    ///
    /// # Errors
    /// sendmsg(2)'s.
    pub fn ask(&self, request: &Request) -> Result<()> {
        kernel::socket::send(&self.0, &[&request.encode()], &[])
    }

    /// Passes on the listener of a further program's filter.
    ///
    /// # Errors
    /// sendmsg(2)'s.
    pub(crate) fn pass_listener(&self, listener: &OwnedFd) -> Result<()> {
        kernel::socket::send(&self.0, &[&Request::Listener.encode()], &[listener.as_fd()])
    }

    /// The next answer; `None` when the keeper has hung up.
    ///
    /// # Errors
    /// recvmsg(2)'s.
    pub fn answer(&self) -> Result<Option<Answer>> {
        let mut buffer = vec![0; LARGEST];
        let length = match kernel::socket::receive(&self.0, &mut buffer) {
            Ok((length, _)) => length,
            Err(error) if error.is(Errno::CONNRESET) => 0,
            Err(error) => return Err(error),
        };
        if length == 0 {
            return Ok(None);
        }
        let message = buffer.get(..length).unwrap_or_default();
        Answer::decode(message).map(Some).ok_or_else(|| Error::new("keeper: unknown answer", Errno::PROTO))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn messages_go_there_and_back() {
        let requests = [
            Request::Attach { input: true },
            Request::Input(vec![0, 255]),
            Request::CloseInput,
            Request::Resize { rows: 24, columns: 80 },
            Request::Stop { signal: 15, timeout_ms: 10_000 },
            Request::Kill { signal: 9 },
            Request::Order { order: Order::Reboot, timeout_ms: 7 },
            Request::Order { order: Order::PowerOff, timeout_ms: u64::MAX },
            Request::WaitReady,
            Request::Wait,
            Request::Policy("always".into()),
            Request::Network(b"{}".to_vec()),
            Request::Listener,
        ];
        for request in requests {
            assert_eq!(Request::decode(&request.encode()), Some(request));
        }
        let failure = Failure { kind: FailureKind::NotFound, message: "run: ENOENT".into() };
        for answer in [
            Answer::Started { pid: 7 },
            Answer::Failed(failure),
            Answer::Exited { code: 137 },
            Answer::Ready,
            Answer::Done,
        ] {
            assert_eq!(Answer::decode(&answer.encode()), Some(answer));
        }
    }

    proptest! {
        #[test]
        fn no_message_is_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            drop((Request::decode(&bytes), Answer::decode(&bytes)));
        }
    }
}
