//! The lab's stand-in for a sidecar proxy: takes what the rules redirect to it, asks the kernel what was dialled, dials that itself.
//!
//! Like a real one it cannot know whether its own connections are spared by the rules. Unlike a real one it stops after a few
//! rounds when they are not, so that the lab with the missing exemption shows a loop and does not become one.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::sys::lab;

use super::reports::{Milestone, Reporter};
use super::ruleset::{HEALTH_PORT, INBOUND_PORT, OUTBOUND_PORT, PROXY_ID, passthrough_source};
use super::{Variant, http, plan};

/// Connections that one listener carries at a time.
const MOST: usize = 64;
/// The same where every connection comes back: enough to see the loop.
const ROUNDS: usize = 4;

/// One side of the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    /// What the pod dials.
    Outbound,
    /// What is dialled in the pod.
    Inbound,
}

/// Runs as the proxy until the process is ended. `families`: `true` for IPv6.
pub(super) fn run(reporter: &Reporter, families: &[bool], variant: Variant) -> io::Result<()> {
    lab::become_user(PROXY_ID)?;
    lab::set_name("proxy");
    let most = if variant == Variant::WithoutExemption { ROUNDS } else { MOST };
    for &ipv6 in families {
        http::serve(lab::listen_on(plan::anywhere(ipv6, HEALTH_PORT))?)?;
        for (side, port, most) in [(Side::Outbound, OUTBOUND_PORT, most), (Side::Inbound, INBOUND_PORT, MOST)] {
            let listener = lab::listen_on(plan::anywhere(ipv6, port))?;
            let reporter = reporter.clone();
            thread::Builder::new().spawn(move || accept(&listener, side, most, &reporter))?;
        }
    }
    reporter.reached(Milestone::ProxyListens);
    loop {
        thread::park();
    }
}

fn accept(listener: &TcpListener, side: Side, most: usize, reporter: &Reporter) {
    let carried = Arc::new(AtomicUsize::new(0));
    let mut held = None;
    for stream in listener.incoming().flatten() {
        if carried.load(Ordering::Relaxed) < most {
            carried.fetch_add(1, Ordering::Relaxed);
            let carried = Arc::clone(&carried);
            thread::spawn(move || {
                // A destination that refuses closes the client's connection too, as in a real proxy.
                let _ = carry(&stream, side);
                carried.fetch_sub(1, Ordering::Relaxed);
            });
        } else if held.is_none() {
            // Neither answered nor closed: the rounds stay to be looked at.
            reporter.reached(Milestone::LoopStopped(is_ipv6(&stream)));
            held = Some(stream);
        }
    }
}

fn carry(client: &TcpStream, side: Side) -> io::Result<()> {
    let dialled = lab::original_destination(client)?;
    if dialled == client.local_addr()? {
        return Ok(()); // Dialled the proxy itself: there is nowhere to carry it.
    }
    let server = dial(dialled, side)?;
    thread::scope(|scope| {
        scope.spawn(|| pump(client, &server));
        pump(&server, client);
    });
    Ok(())
}

fn dial(destination: SocketAddr, side: Side) -> io::Result<TcpStream> {
    let source = (side == Side::Inbound).then(|| passthrough_source(destination.is_ipv6()));
    lab::connect_from(source, destination)
}

/// Copies one direction until it ends, then tells the other side that it has.
fn pump(mut from: &TcpStream, mut to: &TcpStream) {
    // A reset ends the copy as an orderly end does.
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}

fn is_ipv6(stream: &TcpStream) -> bool {
    stream.local_addr().is_ok_and(|address| address.is_ipv6())
}
