//go:build linux

package main

// rows are all targets, in the order in which they are measured.
func rows() []row {
	return []row{
		{"shell-ready", "from the command to the shell's prompt, round trip 50 ms", "ms", "OpenSSH", atMost(.35), shellReady},
		{"shell-ready-console", "the same for another shell from a console that runs", "ms", "OpenSSH", atMost(.35), shellReadyWarm},
		{"echo-lossy-ssh", "a key's echo, p99, 10 % loss, round trip 50 ms", "ms", "OpenSSH", atMost(.4), echoLossy(ofSSH)},
		{"echo-lossy-mosh", "the same beside mosh without prediction", "ms", "mosh --predict=never", atMost(.8), echoLossy(ofMosh)},
		{"echo-perceived", "a key in the console as it is seen, p99, beside mosh with prediction", "ms", "mosh --predict=adaptive", atMost(1), echoPerceived},
		{"bulk-lossy", "bytes from a machine, directly, 2 % loss, round trip 50 ms, link of 25 MB/s", "MB/s", "OpenSSH with BBR", atLeast(.8), bulkLossy("direct", false)},
		{"bulk-lossy-relay", "the same through the relay", "MB/s", "OpenSSH with BBR", atLeast(.8), bulkLossy("relay", false)},
		{"bulk-lossy-tcp", "the same through the relay over TCP, with UDP blocked", "MB/s", "OpenSSH with BBR", atLeast(.8), bulkLossy("relay", true)},
		{"echo-beside-bulk", "a key's echo on loopback, p99, beside another session's bulk", "ms", "OpenSSH", within(5), echoBesideBulk},
		{"bulk-udp", "bytes from a machine, directly, on loopback", "MB/s", "OpenSSH", atLeast(.45), bulkClean("direct")},
		{"bulk-relay", "the same through the relay", "MB/s", "OpenSSH", reported, bulkClean("relay")},
		{"bulk-tcp", "the same where UDP is blocked, TCP all the way", "MB/s", "OpenSSH", atLeast(1.3), bulkTCP},
		{"relay-cpu", "processor time of the relay", "s/GB", "coturn", atMost(2), relayCPU},
		{"idle-agent", "memory of an idle session at the agent, 500 of them", "KB", "", within(100), idle("agent-KB/session")},
		{"idle-operator", "the same at the operator", "KB", "", within(100), idle("operator-KB/session")},
		{"idle-relay", "the same at the relay", "KB", "", reported, idle("relay-KB/session")},
		{"agent-rss", "memory of an agent without sessions, both halves", "MB", "", within(30), agentRSS},
		{"first-frame", "from the command to the console's first screen", "ms", "", within(50), firstFrame},
		{"console-echo", "a key's echo in the console, p99", "ms", "tmux", within(2), consoleEcho},
		{"console-echo-flood", "the same while another shell floods", "ms", "tmux", within(10), consoleEchoFlood},
		{"console-cat", "50 MB of text shown", "s", "tmux", atMost(2), consoleCat},
		{"console-filter", "from a key to the filtered list of 100,000 machines", "ms", "", within(16), filter},
		{"console-scrollback", "memory of 10,000 lines of scrollback", "MB", "", within(5), scrollback},
		{"console-cpu", "processor use of an idle console", "%", "", within(.5), consoleCPU},
		{"console-rss", "memory of an idle console with one shell", "MB", "", within(30), consoleRSS},
		{"gate-true", "2,000 times /bin/true under the gate", "s", "without the gate", atMost(1.45), gate("True")},
		{"gate-make", "a build with make under the gate", "s", "without the gate", atMost(1.3), gate("Make")},
	}
}
