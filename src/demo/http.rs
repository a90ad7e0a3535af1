//! Just enough HTTP for two programs to be seen talking, and to go on holding their connection afterwards.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: demo\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
const END: &[u8] = b"\r\n\r\n";
/// Nobody in the lab says more at once.
const MOST: usize = 4096;
/// A server serves this many clients at a time.
const CLIENTS: usize = 64;

/// Sends a request and waits for the answer.
pub(super) fn ask(mut stream: &TcpStream) -> io::Result<()> {
    stream.write_all(REQUEST)?;
    if read_message(stream)? { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Keeps a connection open until the other side closes it.
pub(super) fn hold(mut stream: &TcpStream) {
    let mut buffer = [0; 256];
    while stream.read(&mut buffer).is_ok_and(|length| length > 0) {}
}

/// Answers everybody, for ever, on threads of its own.
pub(super) fn serve(listener: TcpListener) -> io::Result<()> {
    let clients = Arc::new(AtomicUsize::new(0));
    thread::Builder::new().spawn(move || {
        for stream in listener.incoming().flatten() {
            if clients.fetch_add(1, Ordering::Relaxed) < CLIENTS {
                let clients = Arc::clone(&clients);
                thread::spawn(move || {
                    // A client that breaks off is no failure of the server.
                    let _ = answer(&stream);
                    clients.fetch_sub(1, Ordering::Relaxed);
                });
            } else {
                clients.fetch_sub(1, Ordering::Relaxed);
            }
        }
    })?;
    Ok(())
}

fn answer(mut stream: &TcpStream) -> io::Result<()> {
    while read_message(stream)? {
        stream.write_all(ANSWER)?;
    }
    Ok(())
}

/// Reads up to the blank line that ends a message without body; `false` when the other side has nothing more to say.
fn read_message(mut stream: &TcpStream) -> io::Result<bool> {
    let mut message: Vec<u8> = Vec::new();
    let mut buffer = [0; 512];
    while !message.windows(END.len()).any(|window| window == END) {
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            return Ok(false);
        }
        message.extend(buffer.iter().take(length));
        if message.len() > MOST {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    Ok(true)
}
