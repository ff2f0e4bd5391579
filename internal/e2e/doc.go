// Package e2e holds the tests that run the whole product: real servers, real
// agents, real shells and the real command line, as scripts of personas
// (testdata/script/*.txtar). alice asks, bob approves, carol is the admin, dora
// audits, and mallory attacks. It has no code outside of tests.
package e2e
