//! The tour through the lab: which commands to run on it, in which order, and what to see in what they print.

use super::Lab;

/// One stop of the tour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// A line over it.
    pub title: String,
    /// What the command shows, for somebody who sees it for the first time; paragraphs are divided by blank lines.
    pub explains: String,
    /// The command's arguments, without the program's name.
    pub command: Vec<String>,
}

/// The tour: what the rules of a sound pod say, which way its connections took, what is different where the exemption is
/// missing, and what that does to the connections.
#[must_use]
pub fn steps(good: &Lab, broken: &Lab) -> Vec<Step> {
    let (good, broken) = (good.target(), broken.target());
    vec![
        step("The rules", RULES, &["rules", &good]),
        step("The connections", CONNECTIONS, &["conns", &good]),
        step("The same pod with one exception missing", DIFFERENCE, &["diff", &good, &broken]),
        step("What that does", LOOP, &["conns", &broken]),
    ]
}

const RULES: &str = "\
A service mesh puts a proxy beside the application and redirects all its traffic there, with rules in the pod's own network \
namespace. This pod has such rules, as Istio writes them. Inside the pod nobody may list them: neither the application nor the \
proxy has the right to. From the node one can.

Look for two ports: 15001 takes what the pod dials, 15006 takes what is dialled in the pod. And look for 1337, the proxy's \
user: its packets are left alone.";

const CONNECTIONS: &str = "\
Here the rules are at work. The program `app` (user 1000) dialled port 80 of 10.88.0.1 and believes that it talks to it. Its \
packets go to port 15001 on this very pod, where `proxy` (user 1337) takes them, looks up what was dialled, and dials that \
itself: one call, three sockets.

A client outside dialled port 8080 of the pod; `proxy` took that on 15006 and passed it to `app`, from 127.0.0.6. The health \
check on 15021 goes straight to its listener, since the rules spare that port.";

const DIFFERENCE: &str = "\
A second lab pod is like the first, but the two rules are missing that let the proxy's own packets out, the one by its user, \
the other by its group. Two lines in each of IPv4 and IPv6: easy to lose, and hard to see in a listing of forty.";

const LOOP: &str = "\
Without the exception the proxy's own call to 10.88.0.1 is redirected as well, to the proxy. It takes the connection, dials \
again, and is redirected again. The stand-in proxy here stops after a few rounds; a real one goes on until it has no \
descriptors left and answers every call with an error. `app` still waits for its answer. Calls from outside work: this is why \
a pod like this looks healthy.";

fn step(title: &str, explains: &str, command: &[&str]) -> Step {
    Step {
        title: title.to_owned(),
        explains: explains.to_owned(),
        command: command.iter().map(|word| (*word).to_owned()).collect(),
    }
}
