//! What `conns` says of a meshed pod at work, against what the kernel says of the same sockets.

use serde_json::{Value, json};

use crate::mesh::{Mesh, OUTSIDE, SERVED};
use crate::runtimes::Node;

/// All six ends of the pod's conversations: whose each is, what was dialled, where it went, and which other half it has.
pub(crate) fn check<N: Node>(mesh: &Mesh<'_, N>, document: &Value) {
    assert_eq!(document["schema"], json!("nslens.conns/v1"));
    let rows = document["connections"].as_array().expect("connections");
    assert_eq!(rows.len(), 6, "{document:#}");
    for row in rows {
        assert_eq!(
            (&row["protocol"], &row["state"], &row["evidence"]),
            (&json!("tcp"), &json!("established"), &json!("tracked"))
        );
        assert_eq!(row["processes"], json!([row["process"]]), "one process each");
        owner(mesh, row);
    }
    for (family, proxy, (_, dialled)) in [("ip", "127.0.0.1:15001", OUTSIDE[0]), ("ip6", "[::1]:15001", OUTSIDE[1])] {
        let rule = mesh_rule(mesh, family, "ISTIO_REDIRECT", 1);
        let caller = one(rows, "redirected", dialled);
        let half = one(rows, "intercepted", dialled);
        for (row, uid, container, direction) in [(caller, 1000, "app", "out"), (half, 1337, "istio-proxy", "in")] {
            assert_eq!((&row["uid"], &row["process"]["container"]), (&json!(uid), &json!(container)), "{row:#}");
            assert_eq!((&row["actual_destination"], &row["direction"]), (&json!(proxy), &json!(direction)), "{row:#}");
            assert_eq!(row["rule"], rule, "{row:#}");
        }
        assert_eq!((&caller["peer"], &caller["family"]), (&json!(dialled), &json!(family)), "{caller:#}");
        assert_eq!((&half["local"], &half["peer"]), (&json!(proxy), &caller["local"]), "{half:#}");
        assert_eq!((&caller["twin"], &half["twin"]), (&half["inode"], &caller["inode"]), "twins know each other");
    }
    let served = format!("{}:{SERVED}", mesh.gateway());
    let own = one(rows, "exempt", &served);
    assert_eq!((&own["uid"], &own["process"]["container"]), (&json!(1337), &json!("istio-proxy")), "{own:#}");
    assert_eq!((&own["actual_destination"], &own["twin"]), (&json!(served), &json!(null)), "{own:#}");
    assert_eq!(own["rule"], mesh_rule(mesh, "ip", "ISTIO_OUTPUT", 4), "{own:#}");
    let inbound = one(rows, "intercepted", &format!("{}:8080", mesh.address()));
    assert_eq!(inbound["actual_destination"], json!(format!("{}:15006", mesh.address())), "{inbound:#}");
    assert_eq!((&inbound["uid"], &inbound["twin"]), (&json!(1337), &json!(null)), "its other half is elsewhere");
    assert_eq!(inbound["rule"], mesh_rule(mesh, "ip", "ISTIO_IN_REDIRECT", 1), "{inbound:#}");
}

/// The only row of that way and original destination.
fn one<'a>(rows: &'a [Value], way: &str, dialled: &str) -> &'a Value {
    let fitting: Vec<&Value> =
        rows.iter().filter(|row| row["way"] == way && row["original_destination"] == dialled).collect();
    let [row] = fitting.as_slice() else { panic!("one {way} to {dialled}: {rows:#?}") };
    row
}

fn mesh_rule<N: Node>(mesh: &Mesh<'_, N>, family: &str, chain: &str, number: usize) -> Value {
    json!({"backend": mesh.writer.word(), "family": family, "table": "nat", "chain": chain, "number": number})
}

/// The process named holds that very socket, and is in the cgroup of the container named.
fn owner<N: Node>(mesh: &Mesh<'_, N>, row: &Value) {
    let process = &row["process"];
    let (pid, container) = (&process["pid"], process["container"].as_str().expect("a container"));
    let read = |what: &str| mesh.place().sh(what);
    let sockets = read(&format!("ls -l /proc/{pid}/fd"));
    assert!(sockets.contains(&format!("socket:[{}]", row["inode"])), "{row:#}\n{sockets}");
    let cgroup = read(&format!("cat /proc/{pid}/cgroup"));
    assert!(cgroup.contains(mesh.pod.ids[container].as_str()), "{row:#}\n{cgroup}");
    let name = read(&format!("cat /proc/{pid}/comm"));
    assert_eq!(process["name"], json!(name.trim()));
    // By the container's own list of users; the machine's knows neither.
    let user = if container == "istio-proxy" { "proxy" } else { "app" };
    assert_eq!(process["user"], json!(user));
}
