package daemon

import (
	"strings"
	"time"

	"github.com/muesli/roff"
	"github.com/spf13/cobra"
)

// manCommand prints the program's manual page, for packages: what --help says,
// and for each setting all of its names. The page bears today's date.
func manCommand(c Command, cfg *config, prefix string) *cobra.Command {
	return &cobra.Command{
		Use:    "man",
		Short:  "Print the manual page",
		Args:   cobra.NoArgs,
		Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := cmd.OutOrStdout().Write([]byte(manPage(c, cfg, prefix, cmd.Root(), time.Now())))
			return err
		},
	}
}

// manPage writes the page in roff's man macros (groff_man(7)). It must run
// before settings are read: it shows the defaults.
func manPage(c Command, cfg *config, prefix string, root *cobra.Command, date time.Time) string {
	d := roff.NewDocument()
	d.Heading(8, c.Name, "TucDesk", date)
	item := func(name string, text ...string) {
		d.TaggedParagraph(4)
		d.TextBold(name)
		d.EndSection()
		d.Text(strings.Join(text, " "))
		d.EndSection()
	}
	d.Section("Name")
	d.Text(c.Name + " - " + strings.TrimSuffix(strings.TrimPrefix(c.Doc, "TucDesk's "), "."))
	d.Section("Synopsis")
	d.TextBold(c.Name)
	d.Text(" [")
	d.TextBold("--config")
	d.Text(" ")
	d.TextItalic("FILE")
	d.Text("] [")
	d.TextBold("--check-config")
	d.Text("] [")
	d.TextItalic("settings...")
	d.Text("]")
	d.Section("Description")
	d.Text(strings.ReplaceAll(root.Long, "\n\n", "\n"))
	d.Section("Options")
	item("--config FILE", "Read settings from this file, in YAML. Unknown and double keys are errors. "+prefix+"CONFIG names it too.")
	item("--check-config", "Check the settings and everything that they name, and exit.")
	d.Section("Settings")
	d.Text("For each: the key of the file, the variable, the flag.")
	for _, f := range cfg.all() {
		text := f.doc + "."
		if v := f.text(); v != "" {
			text += " Default: " + v + "."
		}
		item(strings.Join(f.path, ".")+", "+f.env(prefix)+", --"+f.flag(), text)
	}
	d.Section("Commands")
	for _, sub := range commands(root) {
		item(strings.TrimPrefix(sub.UseLine(), c.Name+" "), sub.Short+".")
	}
	d.Section("Signals")
	d.Text("SIGTERM and SIGINT stop the program within stop_timeout; a second one ends it at once.")
	d.Section("Exit status")
	item("0", "It was asked to stop, and did.")
	item("1", "It failed, or did not stop in time.")
	item("2", "A flag or a setting is wrong. Nothing was started.")
	return d.String()
}

// commands lists the commands below c that do something and are not hidden.
func commands(c *cobra.Command) []*cobra.Command {
	var list []*cobra.Command
	for _, sub := range c.Commands() {
		if sub.Hidden || !sub.IsAvailableCommand() {
			continue
		}
		if sub.Runnable() {
			list = append(list, sub)
		}
		list = append(list, commands(sub)...)
	}
	return list
}
