package settings

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/tucdesk/tucdesk/internal/sanitize"
)

// example is a file that changes nothing until somebody takes a # away.
const example = `# The console's settings. tucdesk config check says if they hold.
# yaml-language-server: $schema=console.schema.json    (tucdesk config schema > console.schema.json)

# prefix: ctrl+]              # the key before the console's own, in a terminal
# echo: auto                  # auto, always, never: show what is typed before the far end does
# bell: true
# notifications: true         # what programs announce
# mouse: true                 # for programs that ask for it
# tour: true                  # at the first start; false: never by itself

# theme:
#   background: auto          # auto, dark, light
#   colours: auto             # auto, none, sixteen, many, all
#   own: {deny: bright-red, hold: "214", allow: "#5fd75f"}

# keys:                       # by place and action, as ? in the console names them
#   everywhere: {down: [down, j, ctrl+n]}
#   targets: {exec: e, quit: [ctrl+q]}

# agents:
#   columns: [env, role]
#   group: env
#   sort: name
#   views:
#     - {name: production databases, filter: "env:prod role:db", sort: -name}
`

// Command makes "config": where the file is, whether it holds, what may stand in it.
func Command(out io.Writer, home func() (string, error)) *cobra.Command {
	cmd := &cobra.Command{
		Use: "config", Short: "The console's settings: keys, colours, views",
		Long: "The console's settings are a file, " + FileName + " in TUCDESK_HOME. It can bind keys otherwise, choose colours,\n" +
			"and name views of the list of targets. Without a file all is as it comes.\n\n" +
			"Begin with: tucdesk config example > \"$(tucdesk config path)\"",
		Args: cobra.NoArgs,
	}
	add := func(use, short string, args cobra.PositionalArgs, run func(args []string) error) {
		cmd.AddCommand(&cobra.Command{Use: use, Short: short, Args: args, RunE: func(_ *cobra.Command, args []string) error { return run(args) }})
	}
	file := func() (string, error) {
		dir, err := home()
		return Path(dir), err
	}
	add("path", "Print where the file is", cobra.NoArgs, func([]string) error {
		name, err := file()
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(out, name)
		return err
	})
	add("check [FILE]", "Say whether the settings hold, with line and column", cobra.MaximumNArgs(1), func(args []string) error {
		dir, err := home()
		if err != nil {
			return err
		}
		name := Path(dir)
		if len(args) > 0 {
			name = args[0]
		} else if _, err := os.Stat(name); os.IsNotExist(err) {
			_, err := fmt.Fprintf(out, "there is no %s: all is as it comes\n", sanitize.Clean(name))
			return err
		}
		if _, err := read(name); err != nil {
			return err
		}
		_, err = fmt.Fprintf(out, "%s holds\n", sanitize.Clean(name))
		return err
	})
	add("show", "Print the file", cobra.NoArgs, func([]string) error {
		name, err := file()
		if err != nil {
			return err
		}
		doc, err := os.ReadFile(name)
		if os.IsNotExist(err) {
			_, err := fmt.Fprintf(out, "# there is no %s: all is as it comes; tucdesk config example shows what could be in it\n", sanitize.Clean(name))
			return err
		}
		if err != nil {
			return fmt.Errorf("settings: %w", err)
		}
		_, err = out.Write(doc)
		return err
	})
	add("schema", "Print the file's JSON Schema, for editors", cobra.NoArgs, func([]string) error {
		_, err := out.Write(Schema())
		return err
	})
	add("example", "Print a file that explains itself", cobra.NoArgs, func([]string) error {
		_, err := io.WriteString(out, example)
		return err
	})
	return cmd
}
