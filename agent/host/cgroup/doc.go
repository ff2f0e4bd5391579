// Package cgroup gives each session a control group (Linux, version 2), so that what was
// started in a session ends with it, wherever it hides. Other systems have none.
//
// It knows a session by its id alone. It must not import anything of agent/host.
package cgroup
