//! Which words tell by what connections are followed.

use super::*;

fn lacking(why: &str) -> Result<(), Unknowing> {
    Err(Unknowing { cause: Cause::Permission, why: why.to_owned() })
}

#[test]
fn what_is_not_told_is_said() {
    let all = Sources { tracking: Ok(()), entries: Ok(()), ends: Ok(()), sockets: Ok(()) };
    let said = |sources: &Sources, tracks| words(sources, tracks, "1s");
    assert_eq!(
        said(&all, [true, true]),
        "followed by events of connection tracking; sockets listed every 1s, and told of when they end"
    );
    assert!(
        said(&all, [false, false])
            .ends_with("nothing is tracked here, no rule needs it: what is shorter than 1s is seen when it ends")
    );
    assert!(said(&all, [true, false]).contains("IPv6 is not tracked here"));
    let polled = Sources { tracking: lacking("off"), ..all.clone() };
    assert!(
        said(&polled, [true, true]).contains("no events of connection tracking (off): what is shorter may be missing")
    );
    let sockets = Sources { tracking: lacking("off"), entries: lacking("denied"), ends: lacking("x"), sockets: Ok(()) };
    assert_eq!(
        said(&sockets, [false, false]),
        "followed by sockets listed every 1s; no connection tracking (denied): where connections went is not known"
    );
}

#[test]
fn only_connections_are_followed_so_far() {
    assert_eq!(what("conns").as_deref(), Ok("conns"));
    assert!(what("rules").is_err_and(|error| error.contains("not followed yet")));
    assert!(what("sets").is_err());
}
