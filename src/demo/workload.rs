//! The lab's application: serves on its port, and calls the remote service. It knows nothing of any proxy.

use std::io;
use std::thread;

use crate::sys::lab;

use super::reports::{Milestone, Reporter};
use super::{http, plan};

/// Runs as the application until the process is ended. `families`: `true` for IPv6.
pub(super) fn run(reporter: &Reporter, families: &[bool]) -> io::Result<()> {
    lab::become_user(plan::APPLICATION_ID)?;
    lab::set_name("app");
    for &ipv6 in families {
        http::serve(lab::listen_on(plan::anywhere(ipv6, plan::APPLICATION_PORT))?)?;
    }
    reporter.reached(Milestone::ApplicationListens);
    thread::scope(|scope| {
        for &ipv6 in families {
            // Side by side: where the proxy loops, a call is never answered.
            scope.spawn(move || reporter.run("the application's call", |reporter| call(reporter, ipv6)));
        }
    });
    loop {
        thread::park();
    }
}

fn call(reporter: &Reporter, ipv6: bool) -> io::Result<()> {
    let stream = lab::connect_from(None, plan::service(ipv6))?;
    http::ask(&stream)?;
    reporter.reached(Milestone::CallAnswered(ipv6));
    http::hold(&stream);
    Ok(())
}
