# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_nslens_global_optspecs
    string join \n h/help V/version
end

function __fish_nslens_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_nslens_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_nslens_using_subcommand
    set -l cmd (__fish_nslens_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c nslens -n "__fish_nslens_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nslens -n "__fish_nslens_needs_command" -s V -l version -d 'Print version'
complete -c nslens -n "__fish_nslens_needs_command" -f -a "list" -d 'List every workload of the node, and what is in its network namespace'
complete -c nslens -n "__fish_nslens_needs_command" -f -a "rules" -d 'Show the redirect rules of a workload, in plain words'
complete -c nslens -n "__fish_nslens_needs_command" -f -a "conns" -d 'Show the live connections of a workload and where each really went'
complete -c nslens -n "__fish_nslens_needs_command" -f -a "trace" -d 'Show where a packet goes and why, without sending one'
complete -c nslens -n "__fish_nslens_needs_command" -f -a "coverage" -d 'Show what happens to all new connections, and who gets them'
complete -c nslens -n "__fish_nslens_needs_command" -f -a "check" -d 'Check whether redirection is right: findings with evidence'
complete -c nslens -n "__fish_nslens_needs_command" -f -a "diff" -d 'Compare two workloads, a workload and a snapshot, or two snapshots'
complete -c nslens -n "__fish_nslens_needs_command" -f -a "snapshot" -d 'Save everything about a workload, or all of a node, to files'
complete -c nslens -n "__fish_nslens_needs_command" -f -a "watch" -d 'Follow the connections of a workload, one line a change'
complete -c nslens -n "__fish_nslens_needs_command" -f -a "demo" -d 'Make a private lab pod and show rules, conns and diff on it'
complete -c nslens -n "__fish_nslens_needs_command" -f -a "completions" -d 'Print the completion script of a shell'
complete -c nslens -n "__fish_nslens_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c nslens -n "__fish_nslens_using_subcommand list" -s n -l namespace -d 'Only pods of this Kubernetes namespace' -r
complete -c nslens -n "__fish_nslens_using_subcommand list" -s l -l selector -d 'Only workloads with these labels, such as app=web,tier!=db' -r
complete -c nslens -n "__fish_nslens_using_subcommand list" -s o -l output -d 'table, wide (one line each), json, jsonl' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''"
complete -c nslens -n "__fish_nslens_using_subcommand list" -l runtime -d 'Runtime to ask: auto, docker, podman, cri, containerd, proc' -r
complete -c nslens -n "__fish_nslens_using_subcommand list" -l runtime-endpoint -d 'Socket of the runtime, and no other' -r
complete -c nslens -n "__fish_nslens_using_subcommand list" -l host-root -d 'Where the node\'s root is mounted, such as /host in a debug pod (which needs hostPID)' -r -F
complete -c nslens -n "__fish_nslens_using_subcommand list" -l timeout -d 'Time that each runtime gets, such as 500ms or 5s' -r
complete -c nslens -n "__fish_nslens_using_subcommand list" -l color -d 'Colours: auto, always, never' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c nslens -n "__fish_nslens_using_subcommand list" -l all -d 'What does not run, and namespaces of no container, too'
complete -c nslens -n "__fish_nslens_using_subcommand list" -l runtimes -d 'Which runtimes were tried, what each answered, how long it took'
complete -c nslens -n "__fish_nslens_using_subcommand list" -l no-headers -d 'No line with the columns\' names'
complete -c nslens -n "__fish_nslens_using_subcommand list" -s q -l quiet -d 'No notes on stderr, only errors'
complete -c nslens -n "__fish_nslens_using_subcommand list" -s v -l verbose -d 'Say on stderr what was tried'
complete -c nslens -n "__fish_nslens_using_subcommand list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nslens -n "__fish_nslens_using_subcommand rules" -l backend -d 'Rules of one subsystem: legacy, nft, all' -r -f -a "legacy\t'x_tables'
nft\t'nf_tables'
all\t'Both'"
complete -c nslens -n "__fish_nslens_using_subcommand rules" -l table -d 'Only tables of this name; may be repeated' -r
complete -c nslens -n "__fish_nslens_using_subcommand rules" -l chain -d 'Only chains of this name; may be repeated' -r
complete -c nslens -n "__fish_nslens_using_subcommand rules" -s o -l output -d 'table, wide, json, yaml, save, nft, dot, mermaid, svg' -r -f -a "table\t''
wide\t''
json\t''
yaml\t''
save\t''
nft\t''
dot\t''
mermaid\t''
svg\t''"
complete -c nslens -n "__fish_nslens_using_subcommand rules" -s n -l namespace -d 'Kubernetes namespace of the pod (default: all)' -r
complete -c nslens -n "__fish_nslens_using_subcommand rules" -s c -l container -d 'One container of the pod' -r
complete -c nslens -n "__fish_nslens_using_subcommand rules" -l runtime -d 'Runtime to ask: auto, docker, podman, cri, containerd, proc' -r
complete -c nslens -n "__fish_nslens_using_subcommand rules" -l runtime-endpoint -d 'Socket of the runtime, and no other' -r
complete -c nslens -n "__fish_nslens_using_subcommand rules" -l host-root -d 'Where the node\'s root is mounted, such as /host in a debug pod (which needs hostPID)' -r -F
complete -c nslens -n "__fish_nslens_using_subcommand rules" -l timeout -d 'Time that each runtime gets, such as 500ms or 5s' -r
complete -c nslens -n "__fish_nslens_using_subcommand rules" -l color -d 'Colours: auto, always, never' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c nslens -n "__fish_nslens_using_subcommand rules" -l all -d 'Every table and chain, not only what redirects'
complete -c nslens -n "__fish_nslens_using_subcommand rules" -l sets -d 'The elements of sets too, however many'
complete -c nslens -n "__fish_nslens_using_subcommand rules" -s 4 -l ipv4 -d 'IPv4 only'
complete -c nslens -n "__fish_nslens_using_subcommand rules" -s 6 -l ipv6 -d 'IPv6 only'
complete -c nslens -n "__fish_nslens_using_subcommand rules" -l why -d 'Plain words alone, without numbers and counters'
complete -c nslens -n "__fish_nslens_using_subcommand rules" -l cross-check -d 'Ask the node\'s own iptables-save too, say what differs'
complete -c nslens -n "__fish_nslens_using_subcommand rules" -l no-headers -d 'No line with the columns\' names'
complete -c nslens -n "__fish_nslens_using_subcommand rules" -s q -l quiet -d 'No notes on stderr, only errors'
complete -c nslens -n "__fish_nslens_using_subcommand rules" -s v -l verbose -d 'Say on stderr what was tried'
complete -c nslens -n "__fish_nslens_using_subcommand rules" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nslens -n "__fish_nslens_using_subcommand conns" -l way -d 'Connections that went this way: redirected, intercepted, exempt, direct, unknown' -r
complete -c nslens -n "__fish_nslens_using_subcommand conns" -l state -d 'Sockets in this state, in ss\'s words: established, syn-sent, time-wait …' -r
complete -c nslens -n "__fish_nslens_using_subcommand conns" -l port -d 'Connections with this port at any end: their own, the peer\'s, dialled or where they went' -r
complete -c nslens -n "__fish_nslens_using_subcommand conns" -l process -d 'Connections of this process, by name or PID' -r
complete -c nslens -n "__fish_nslens_using_subcommand conns" -l sort -d 'process, way, state, local, peer' -r -f -a "process\t''
way\t''
state\t''
local\t''
peer\t''"
complete -c nslens -n "__fish_nslens_using_subcommand conns" -l protocol -d 'Flows of this protocol: a name such as tcp, or a number' -r
complete -c nslens -n "__fish_nslens_using_subcommand conns" -l from -d 'Flows that this end dialled: ADDRESS, ADDRESS:PORT or :PORT' -r
complete -c nslens -n "__fish_nslens_using_subcommand conns" -l to -d 'Flows that dialled this end: ADDRESS, ADDRESS:PORT or :PORT' -r
complete -c nslens -n "__fish_nslens_using_subcommand conns" -l mark -d 'Flows with this mark: VALUE or VALUE/MASK' -r
complete -c nslens -n "__fish_nslens_using_subcommand conns" -l status -d 'Flows with this bit of the status, such as assured or dnat; several: all of them' -r
complete -c nslens -n "__fish_nslens_using_subcommand conns" -l zone -d 'Flows of this zone' -r
complete -c nslens -n "__fish_nslens_using_subcommand conns" -s o -l output -d 'table, wide, json, jsonl (one connection a line), yaml' -r -f -a "table\t''
wide\t''
json\t''
jsonl\t''
yaml\t''"
complete -c nslens -n "__fish_nslens_using_subcommand conns" -s n -l namespace -d 'Kubernetes namespace of the pod (default: all)' -r
complete -c nslens -n "__fish_nslens_using_subcommand conns" -s c -l container -d 'One container of the pod' -r
complete -c nslens -n "__fish_nslens_using_subcommand conns" -l runtime -d 'Runtime to ask: auto, docker, podman, cri, containerd, proc' -r
complete -c nslens -n "__fish_nslens_using_subcommand conns" -l runtime-endpoint -d 'Socket of the runtime, and no other' -r
complete -c nslens -n "__fish_nslens_using_subcommand conns" -l host-root -d 'Where the node\'s root is mounted, such as /host in a debug pod (which needs hostPID)' -r -F
complete -c nslens -n "__fish_nslens_using_subcommand conns" -l timeout -d 'Time that each runtime gets, such as 500ms or 5s' -r
complete -c nslens -n "__fish_nslens_using_subcommand conns" -l color -d 'Colours: auto, always, never' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c nslens -n "__fish_nslens_using_subcommand conns" -l all -d 'Sockets of every kind and state, listeners too'
complete -c nslens -n "__fish_nslens_using_subcommand conns" -l listen -d 'Listeners alone, and what takes datagrams from anyone'
complete -c nslens -n "__fish_nslens_using_subcommand conns" -l flows -d 'The tracked flows themselves, as the kernel lists them'
complete -c nslens -n "__fish_nslens_using_subcommand conns" -l summary -d 'What fills the table of tracked flows'
complete -c nslens -n "__fish_nslens_using_subcommand conns" -s 4 -l ipv4 -d 'Flows of IPv4 only'
complete -c nslens -n "__fish_nslens_using_subcommand conns" -s 6 -l ipv6 -d 'Flows of IPv6 only'
complete -c nslens -n "__fish_nslens_using_subcommand conns" -l no-headers -d 'No line with the columns\' names'
complete -c nslens -n "__fish_nslens_using_subcommand conns" -s q -l quiet -d 'No notes on stderr, only errors'
complete -c nslens -n "__fish_nslens_using_subcommand conns" -s v -l verbose -d 'Say on stderr what was tried'
complete -c nslens -n "__fish_nslens_using_subcommand conns" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nslens -n "__fish_nslens_using_subcommand trace" -l to -d 'Where it is sent: 10.0.0.5:443, [fd00::5]:https' -r
complete -c nslens -n "__fish_nslens_using_subcommand trace" -l from -d 'Where it comes from (default: worked out)' -r
complete -c nslens -n "__fish_nslens_using_subcommand trace" -l protocol -d 'tcp (the default), udp, icmp, a number ...' -r
complete -c nslens -n "__fish_nslens_using_subcommand trace" -l uid -d 'User of the process that sends it' -r
complete -c nslens -n "__fish_nslens_using_subcommand trace" -l gid -d 'Group of the process that sends it' -r
complete -c nslens -n "__fish_nslens_using_subcommand trace" -l groups -d 'Its further groups: 1000,1337' -r
complete -c nslens -n "__fish_nslens_using_subcommand trace" -l mark -d 'Mark of the socket, or of the packet: 1337 or 0x539' -r
complete -c nslens -n "__fish_nslens_using_subcommand trace" -l interface -d 'Device by which it comes in or leaves' -r
complete -c nslens -n "__fish_nslens_using_subcommand trace" -l state -d 'new, established, related, invalid, untracked' -r
complete -c nslens -n "__fish_nslens_using_subcommand trace" -l as -d 'Sent by a process as it runs: CONTAINER or pid/N' -r
complete -c nslens -n "__fish_nslens_using_subcommand trace" -l batch -d 'Packets as JSON, one a line, from a file or -' -r -F
complete -c nslens -n "__fish_nslens_using_subcommand trace" -s o -l output -d 'table, json, jsonl, yaml, mermaid, dot, svg' -r -f -a "table\t''
json\t''
jsonl\t''
yaml\t''
mermaid\t''
dot\t''
svg\t''"
complete -c nslens -n "__fish_nslens_using_subcommand trace" -s n -l namespace -d 'Kubernetes namespace of the pod (default: all)' -r
complete -c nslens -n "__fish_nslens_using_subcommand trace" -s c -l container -d 'One container of the pod' -r
complete -c nslens -n "__fish_nslens_using_subcommand trace" -l runtime -d 'Runtime to ask: auto, docker, podman, cri, containerd, proc' -r
complete -c nslens -n "__fish_nslens_using_subcommand trace" -l runtime-endpoint -d 'Socket of the runtime, and no other' -r
complete -c nslens -n "__fish_nslens_using_subcommand trace" -l host-root -d 'Where the node\'s root is mounted, such as /host in a debug pod (which needs hostPID)' -r -F
complete -c nslens -n "__fish_nslens_using_subcommand trace" -l timeout -d 'Time that each runtime gets, such as 500ms or 5s' -r
complete -c nslens -n "__fish_nslens_using_subcommand trace" -l color -d 'Colours: auto, always, never' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c nslens -n "__fish_nslens_using_subcommand trace" -l in -d 'It comes in from outside'
complete -c nslens -n "__fish_nslens_using_subcommand trace" -l out -d 'A process of the workload sends it: the default'
complete -c nslens -n "__fish_nslens_using_subcommand trace" -l follow -d 'Go on where a proxy takes it'
complete -c nslens -n "__fish_nslens_using_subcommand trace" -s q -l quiet -d 'No notes on stderr, only errors'
complete -c nslens -n "__fish_nslens_using_subcommand trace" -s v -l verbose -d 'Say on stderr what was tried'
complete -c nslens -n "__fish_nslens_using_subcommand trace" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nslens -n "__fish_nslens_using_subcommand coverage" -l who -d 'Of these senders only: uid=1000, gid=1337, mark=0x539' -r
complete -c nslens -n "__fish_nslens_using_subcommand coverage" -l to -d 'To this address or network only' -r
complete -c nslens -n "__fish_nslens_using_subcommand coverage" -l port -d 'To this port or these only: 443, https, 8000-8999' -r
complete -c nslens -n "__fish_nslens_using_subcommand coverage" -l protocol -d 'tcp, udp, icmp, a number ...' -r
complete -c nslens -n "__fish_nslens_using_subcommand coverage" -s o -l output -d 'table, json, jsonl, yaml, svg' -r -f -a "table\t''
json\t''
jsonl\t''
yaml\t''
svg\t''"
complete -c nslens -n "__fish_nslens_using_subcommand coverage" -s n -l namespace -d 'Kubernetes namespace of the pod (default: all)' -r
complete -c nslens -n "__fish_nslens_using_subcommand coverage" -s c -l container -d 'One container of the pod' -r
complete -c nslens -n "__fish_nslens_using_subcommand coverage" -l runtime -d 'Runtime to ask: auto, docker, podman, cri, containerd, proc' -r
complete -c nslens -n "__fish_nslens_using_subcommand coverage" -l runtime-endpoint -d 'Socket of the runtime, and no other' -r
complete -c nslens -n "__fish_nslens_using_subcommand coverage" -l host-root -d 'Where the node\'s root is mounted, such as /host in a debug pod (which needs hostPID)' -r -F
complete -c nslens -n "__fish_nslens_using_subcommand coverage" -l timeout -d 'Time that each runtime gets, such as 500ms or 5s' -r
complete -c nslens -n "__fish_nslens_using_subcommand coverage" -l color -d 'Colours: auto, always, never' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c nslens -n "__fish_nslens_using_subcommand coverage" -l in -d 'What comes in from outside only'
complete -c nslens -n "__fish_nslens_using_subcommand coverage" -l out -d 'What processes of the workload send only'
complete -c nslens -n "__fish_nslens_using_subcommand coverage" -s 4 -l ipv4 -d 'IPv4 only'
complete -c nslens -n "__fish_nslens_using_subcommand coverage" -s 6 -l ipv6 -d 'IPv6 only'
complete -c nslens -n "__fish_nslens_using_subcommand coverage" -l ports -d 'How each listening port is reached from outside'
complete -c nslens -n "__fish_nslens_using_subcommand coverage" -s q -l quiet -d 'No notes on stderr, only errors'
complete -c nslens -n "__fish_nslens_using_subcommand coverage" -s v -l verbose -d 'Say on stderr what was tried'
complete -c nslens -n "__fish_nslens_using_subcommand coverage" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nslens -n "__fish_nslens_using_subcommand check" -s l -l selector -d 'With -A: those with labels such as app=web' -r
complete -c nslens -n "__fish_nslens_using_subcommand check" -l mesh -d 'Demand it: istio, linkerd, kuma, consul, any ...' -r
complete -c nslens -n "__fish_nslens_using_subcommand check" -l fail-on -d 'Least severity that fails: error, warning, info' -r
complete -c nslens -n "__fish_nslens_using_subcommand check" -l allow -d 'Accept a finding: RDR209=REASON' -r
complete -c nslens -n "__fish_nslens_using_subcommand check" -l expect -d 'A file that says what is expected' -r -F
complete -c nslens -n "__fish_nslens_using_subcommand check" -l write-expect -d 'Write such a file from a workload that passes' -r -F
complete -c nslens -n "__fish_nslens_using_subcommand check" -l interval -d 'Time between the two samples' -r
complete -c nslens -n "__fish_nslens_using_subcommand check" -l wait -d 'Look until it passes, for so long at most' -r
complete -c nslens -n "__fish_nslens_using_subcommand check" -l explain -d 'The page about a finding, instead of a check' -r
complete -c nslens -n "__fish_nslens_using_subcommand check" -s o -l output -d 'table, json, yaml, junit, sarif, github, tap' -r -f -a "table\t''
json\t''
jsonl\t''
yaml\t''
junit\t''
sarif\t''
github\t''
tap\t''"
complete -c nslens -n "__fish_nslens_using_subcommand check" -s n -l namespace -d 'Kubernetes namespace of the pod (default: all)' -r
complete -c nslens -n "__fish_nslens_using_subcommand check" -s c -l container -d 'One container of the pod' -r
complete -c nslens -n "__fish_nslens_using_subcommand check" -l runtime -d 'Runtime to ask: auto, docker, podman, cri, containerd, proc' -r
complete -c nslens -n "__fish_nslens_using_subcommand check" -l runtime-endpoint -d 'Socket of the runtime, and no other' -r
complete -c nslens -n "__fish_nslens_using_subcommand check" -l host-root -d 'Where the node\'s root is mounted, such as /host in a debug pod (which needs hostPID)' -r -F
complete -c nslens -n "__fish_nslens_using_subcommand check" -l timeout -d 'Time that each runtime gets, such as 500ms or 5s' -r
complete -c nslens -n "__fish_nslens_using_subcommand check" -l color -d 'Colours: auto, always, never' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c nslens -n "__fish_nslens_using_subcommand check" -s A -l all-workloads -d 'Every workload of the node'
complete -c nslens -n "__fish_nslens_using_subcommand check" -l ignore-undecided -d 'What cannot be decided does not fail'
complete -c nslens -n "__fish_nslens_using_subcommand check" -l once -d 'One sample only: findings that need moving counters are left out'
complete -c nslens -n "__fish_nslens_using_subcommand check" -l no-headers -d 'No line with the columns\' names'
complete -c nslens -n "__fish_nslens_using_subcommand check" -s q -l quiet -d 'No notes on stderr, only errors'
complete -c nslens -n "__fish_nslens_using_subcommand check" -s v -l verbose -d 'Say on stderr what was tried'
complete -c nslens -n "__fish_nslens_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nslens -n "__fish_nslens_using_subcommand diff" -s l -l selector -d 'With -A: those with labels such as app=web' -r
complete -c nslens -n "__fish_nslens_using_subcommand diff" -l family-parity -d 'Compare what becomes of IPv4 and of IPv6 of one workload' -r
complete -c nslens -n "__fish_nslens_using_subcommand diff" -l backend -d 'Rules of one subsystem: legacy, nft, all' -r -f -a "legacy\t'x_tables'
nft\t'nf_tables'
all\t'Both'"
complete -c nslens -n "__fish_nslens_using_subcommand diff" -s o -l output -d 'table, json, unified, markdown, junit' -r -f -a "table\t''
json\t''
jsonl\t''
unified\t''
markdown\t''
junit\t''"
complete -c nslens -n "__fish_nslens_using_subcommand diff" -s n -l namespace -d 'Kubernetes namespace of the pod (default: all)' -r
complete -c nslens -n "__fish_nslens_using_subcommand diff" -s c -l container -d 'One container of the pod' -r
complete -c nslens -n "__fish_nslens_using_subcommand diff" -l runtime -d 'Runtime to ask: auto, docker, podman, cri, containerd, proc' -r
complete -c nslens -n "__fish_nslens_using_subcommand diff" -l runtime-endpoint -d 'Socket of the runtime, and no other' -r
complete -c nslens -n "__fish_nslens_using_subcommand diff" -l host-root -d 'Where the node\'s root is mounted, such as /host in a debug pod (which needs hostPID)' -r -F
complete -c nslens -n "__fish_nslens_using_subcommand diff" -l timeout -d 'Time that each runtime gets, such as 500ms or 5s' -r
complete -c nslens -n "__fish_nslens_using_subcommand diff" -l color -d 'Colours: auto, always, never' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c nslens -n "__fish_nslens_using_subcommand diff" -l rules -d 'Compare rules (the default, with --effect)'
complete -c nslens -n "__fish_nslens_using_subcommand diff" -l effect -d 'Compare what becomes of all new connections'
complete -c nslens -n "__fish_nslens_using_subcommand diff" -s A -l all-workloads -d 'Every workload of the node with those that a folder or an archive of `snapshot -A` holds'
complete -c nslens -n "__fish_nslens_using_subcommand diff" -l conns -d 'Compare connections'
complete -c nslens -n "__fish_nslens_using_subcommand diff" -s 4 -l ipv4 -d 'IPv4 only'
complete -c nslens -n "__fish_nslens_using_subcommand diff" -s 6 -l ipv6 -d 'IPv6 only'
complete -c nslens -n "__fish_nslens_using_subcommand diff" -s q -l quiet -d 'No notes on stderr, only errors'
complete -c nslens -n "__fish_nslens_using_subcommand diff" -s v -l verbose -d 'Say on stderr what was tried'
complete -c nslens -n "__fish_nslens_using_subcommand diff" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nslens -n "__fish_nslens_using_subcommand snapshot" -s f -l file -d 'File to write, compressed when it ends in .gz (default: stdout, unless that is a terminal)' -r -F
complete -c nslens -n "__fish_nslens_using_subcommand snapshot" -s l -l selector -d 'With -A: those with labels such as app=web' -r
complete -c nslens -n "__fish_nslens_using_subcommand snapshot" -l verify -d 'Whether a file, folder or archive can be read and holds what was written' -r -F
complete -c nslens -n "__fish_nslens_using_subcommand snapshot" -l max-size -d 'Leave out what makes a file larger than this, and say so: 200M, 500k' -r
complete -c nslens -n "__fish_nslens_using_subcommand snapshot" -s n -l namespace -d 'Kubernetes namespace of the pod (default: all)' -r
complete -c nslens -n "__fish_nslens_using_subcommand snapshot" -s c -l container -d 'One container of the pod' -r
complete -c nslens -n "__fish_nslens_using_subcommand snapshot" -l runtime -d 'Runtime to ask: auto, docker, podman, cri, containerd, proc' -r
complete -c nslens -n "__fish_nslens_using_subcommand snapshot" -l runtime-endpoint -d 'Socket of the runtime, and no other' -r
complete -c nslens -n "__fish_nslens_using_subcommand snapshot" -l host-root -d 'Where the node\'s root is mounted, such as /host in a debug pod (which needs hostPID)' -r -F
complete -c nslens -n "__fish_nslens_using_subcommand snapshot" -l timeout -d 'Time that each runtime gets, such as 500ms or 5s' -r
complete -c nslens -n "__fish_nslens_using_subcommand snapshot" -l color -d 'Colours: auto, always, never' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c nslens -n "__fish_nslens_using_subcommand snapshot" -s A -l all-workloads -d 'Every workload of the node: one file each, and a manifest'
complete -c nslens -n "__fish_nslens_using_subcommand snapshot" -s q -l quiet -d 'No notes on stderr, only errors'
complete -c nslens -n "__fish_nslens_using_subcommand snapshot" -s v -l verbose -d 'Say on stderr what was tried'
complete -c nslens -n "__fish_nslens_using_subcommand snapshot" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nslens -n "__fish_nslens_using_subcommand watch" -l only -d 'What to follow: conns' -r
complete -c nslens -n "__fish_nslens_using_subcommand watch" -l interval -d 'Time between two looks at what nobody tells of' -r
complete -c nslens -n "__fish_nslens_using_subcommand watch" -l for -d 'End after this time' -r
complete -c nslens -n "__fish_nslens_using_subcommand watch" -l count -d 'End after so many changes' -r
complete -c nslens -n "__fish_nslens_using_subcommand watch" -s o -l output -d 'table, wide, jsonl (one change a line)' -r -f -a "table\t''
wide\t''
jsonl\t''"
complete -c nslens -n "__fish_nslens_using_subcommand watch" -s n -l namespace -d 'Kubernetes namespace of the pod (default: all)' -r
complete -c nslens -n "__fish_nslens_using_subcommand watch" -s c -l container -d 'One container of the pod' -r
complete -c nslens -n "__fish_nslens_using_subcommand watch" -l runtime -d 'Runtime to ask: auto, docker, podman, cri, containerd, proc' -r
complete -c nslens -n "__fish_nslens_using_subcommand watch" -l runtime-endpoint -d 'Socket of the runtime, and no other' -r
complete -c nslens -n "__fish_nslens_using_subcommand watch" -l host-root -d 'Where the node\'s root is mounted, such as /host in a debug pod (which needs hostPID)' -r -F
complete -c nslens -n "__fish_nslens_using_subcommand watch" -l timeout -d 'Time that each runtime gets, such as 500ms or 5s' -r
complete -c nslens -n "__fish_nslens_using_subcommand watch" -l color -d 'Colours: auto, always, never' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c nslens -n "__fish_nslens_using_subcommand watch" -l initial -d 'First what is there already'
complete -c nslens -n "__fish_nslens_using_subcommand watch" -l utc -d 'Times in UTC'
complete -c nslens -n "__fish_nslens_using_subcommand watch" -l no-headers -d 'No line with the columns\' names'
complete -c nslens -n "__fish_nslens_using_subcommand watch" -s q -l quiet -d 'No notes on stderr, only errors'
complete -c nslens -n "__fish_nslens_using_subcommand watch" -s v -l verbose -d 'Say on stderr what was tried'
complete -c nslens -n "__fish_nslens_using_subcommand watch" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nslens -n "__fish_nslens_using_subcommand demo" -l color -d 'Colours: auto, always, never' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c nslens -n "__fish_nslens_using_subcommand demo" -l keep -d 'Leave the lab running until Enter, and say how to look at it'
complete -c nslens -n "__fish_nslens_using_subcommand demo" -s q -l quiet -d 'No notes on stderr, only errors'
complete -c nslens -n "__fish_nslens_using_subcommand demo" -s v -l verbose -d 'Say on stderr what was tried'
complete -c nslens -n "__fish_nslens_using_subcommand demo" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nslens -n "__fish_nslens_using_subcommand completions" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nslens -n "__fish_nslens_using_subcommand help; and not __fish_seen_subcommand_from list rules conns trace coverage check diff snapshot watch demo completions help" -f -a "list" -d 'List every workload of the node, and what is in its network namespace'
complete -c nslens -n "__fish_nslens_using_subcommand help; and not __fish_seen_subcommand_from list rules conns trace coverage check diff snapshot watch demo completions help" -f -a "rules" -d 'Show the redirect rules of a workload, in plain words'
complete -c nslens -n "__fish_nslens_using_subcommand help; and not __fish_seen_subcommand_from list rules conns trace coverage check diff snapshot watch demo completions help" -f -a "conns" -d 'Show the live connections of a workload and where each really went'
complete -c nslens -n "__fish_nslens_using_subcommand help; and not __fish_seen_subcommand_from list rules conns trace coverage check diff snapshot watch demo completions help" -f -a "trace" -d 'Show where a packet goes and why, without sending one'
complete -c nslens -n "__fish_nslens_using_subcommand help; and not __fish_seen_subcommand_from list rules conns trace coverage check diff snapshot watch demo completions help" -f -a "coverage" -d 'Show what happens to all new connections, and who gets them'
complete -c nslens -n "__fish_nslens_using_subcommand help; and not __fish_seen_subcommand_from list rules conns trace coverage check diff snapshot watch demo completions help" -f -a "check" -d 'Check whether redirection is right: findings with evidence'
complete -c nslens -n "__fish_nslens_using_subcommand help; and not __fish_seen_subcommand_from list rules conns trace coverage check diff snapshot watch demo completions help" -f -a "diff" -d 'Compare two workloads, a workload and a snapshot, or two snapshots'
complete -c nslens -n "__fish_nslens_using_subcommand help; and not __fish_seen_subcommand_from list rules conns trace coverage check diff snapshot watch demo completions help" -f -a "snapshot" -d 'Save everything about a workload, or all of a node, to files'
complete -c nslens -n "__fish_nslens_using_subcommand help; and not __fish_seen_subcommand_from list rules conns trace coverage check diff snapshot watch demo completions help" -f -a "watch" -d 'Follow the connections of a workload, one line a change'
complete -c nslens -n "__fish_nslens_using_subcommand help; and not __fish_seen_subcommand_from list rules conns trace coverage check diff snapshot watch demo completions help" -f -a "demo" -d 'Make a private lab pod and show rules, conns and diff on it'
complete -c nslens -n "__fish_nslens_using_subcommand help; and not __fish_seen_subcommand_from list rules conns trace coverage check diff snapshot watch demo completions help" -f -a "completions" -d 'Print the completion script of a shell'
complete -c nslens -n "__fish_nslens_using_subcommand help; and not __fish_seen_subcommand_from list rules conns trace coverage check diff snapshot watch demo completions help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
