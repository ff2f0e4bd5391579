//go:build race && unix

package console

// longLine is how often the long line is as long as in streams: with the race detector
// ten megabytes take too long.
const longLine = 1
