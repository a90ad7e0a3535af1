//! A node's services.

use std::fmt::Write;

/// Services, each with eight rules.
const SERVICES: u32 = 1000;

/// As kube-proxy writes them: two endpoints each, drawn by chance, and marked for masquerading.
pub(crate) fn services() -> String {
    let (mut heads, mut first, mut rest) = (String::new(), String::new(), String::new());
    for service in 0..SERVICES {
        let cluster = format!("10.96.{}.{}", service / 250, service % 250 + 1);
        let port = 80 + service % 3;
        // Writing to a String cannot fail.
        writeln!(
            heads,
            ":KUBE-SVC-{service:04} - [0:0]\n:KUBE-SEP-{service:04}A - [0:0]\n:KUBE-SEP-{service:04}B - [0:0]"
        )
        .ok();
        writeln!(first, "-A KUBE-SERVICES -d {cluster}/32 -p tcp -m tcp --dport {port} -j KUBE-SVC-{service:04}").ok();
        writeln!(
            rest,
            "-A KUBE-SVC-{service:04} ! -s 10.244.0.0/16 -d {cluster}/32 -p tcp -m tcp --dport {port} -j KUBE-MARK-MASQ"
        )
        .ok();
        writeln!(
            rest,
            "-A KUBE-SVC-{service:04} -m statistic --mode random --probability 0.5 -j KUBE-SEP-{service:04}A"
        )
        .ok();
        writeln!(rest, "-A KUBE-SVC-{service:04} -j KUBE-SEP-{service:04}B").ok();
        for (name, place) in [('A', 1), ('B', 2)] {
            let endpoint = format!("10.244.{}.{}", service / 120, service % 120 * 2 + place);
            writeln!(rest, "-A KUBE-SEP-{service:04}{name} -s {endpoint}/32 -j KUBE-MARK-MASQ").ok();
            writeln!(rest, "-A KUBE-SEP-{service:04}{name} -p tcp -m tcp -j DNAT --to-destination {endpoint}:8080")
                .ok();
        }
    }
    format!(
        "*nat\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n:KUBE-SERVICES - [0:0]\n\
         :KUBE-MARK-MASQ - [0:0]\n:KUBE-POSTROUTING - [0:0]\n{heads}-A PREROUTING -j KUBE-SERVICES\n-A OUTPUT -j KUBE-SERVICES\n\
         -A POSTROUTING -j KUBE-POSTROUTING\n-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000\n\
         -A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN\n-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0\n\
         -A KUBE-POSTROUTING -j MASQUERADE --random-fully\n{first}{rest}COMMIT\n"
    )
}
