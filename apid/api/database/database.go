// Package database is the commands of tucdesk-apid that work on its database as
// a whole: migrate, backup and restore, on either engine.
//
// It must not import the handlers.
package database

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/tucdesk/tucdesk/internal/daemon"
	"github.com/tucdesk/tucdesk/internal/store/backup"
	"github.com/tucdesk/tucdesk/internal/store/engine"
)

// Tasks are the commands. address reads the database's out of a configuration.
func Tasks(address func(cfg []byte) (string, error)) []daemon.Task {
	task := func(cmd *cobra.Command, run func(cmd *cobra.Command, database string, args []string) error) daemon.Task {
		return daemon.Task{Command: cmd, Run: func(cmd *cobra.Command, cfg []byte, args []string) error {
			database, err := address(cfg)
			if err != nil {
				return err
			}
			return run(cmd, database, args)
		}}
	}
	var to int64
	migrate := &cobra.Command{
		Use: "migrate [DATABASE]", Short: "Take the database to this program's schema", Args: cobra.MaximumNArgs(1),
		Long: "Takes the database to the schema of this program, or to that of --to. A SQLite file is migrated by\n" +
			"itself when apid starts. A PostgreSQL database is migrated by its owner, which apid is not: name it\n" +
			"as its owner, postgres://tucdesk_owner@HOST/DATABASE. Once, an administrator of the server makes the\n" +
			"roles and the database:\n" +
			"  CREATE ROLE tucdesk_owner LOGIN;\n" +
			"  CREATE ROLE tucdesk_daemon NOLOGIN;\n" +
			"  CREATE ROLE apid LOGIN IN ROLE tucdesk_daemon;\n" +
			"  CREATE DATABASE tucdesk OWNER tucdesk_owner ENCODING 'UTF8' TEMPLATE template0;\n" +
			"Make a backup first. Going back with --to loses what the older schema has no place for.",
	}
	migrate.Flags().Int64Var(&to, "to", engine.Latest, "version of the schema; -1 is the newest")
	return []daemon.Task{
		task(migrate, func(cmd *cobra.Command, database string, args []string) error {
			if len(args) == 1 {
				database = args[0]
			}
			from, err := engine.Migrate(cmd.Context(), database, to)
			if err == nil {
				fmt.Fprintf(cmd.OutOrStdout(), "migrated from version %d\n", from)
			}
			return err
		}),
		task(&cobra.Command{
			Use: "backup FILE", Short: "Write everything in the database into one file", Args: cobra.ExactArgs(1),
			Long: "Writes all teams into FILE, which must not be there yet, for restore on either engine. apid may run\n" +
				"meanwhile: each team is copied as it is at one moment. The file holds no key and no command in the\n" +
				"clear; it does hold who did what, so keep it as private as the database. Keys and the segments of\n" +
				"recordings are not in it: copy their folders.",
		}, func(cmd *cobra.Command, database string, args []string) error {
			teams, err := save(cmd.Context(), database, args[0])
			return report(cmd.OutOrStdout(), teams, err)
		}),
		task(&cobra.Command{
			Use: "restore FILE", Short: "Read a backup into an empty database", Args: cobra.ExactArgs(1),
			Long: "Reads a backup into a database without teams: all of it or, if anything is wrong with it, nothing.\n" +
				"Stop apid before. Whatever happened after the backup was made is gone, and people and agents who have\n" +
				"seen it will notice. apid itself refuses to go on with a log that is older than what it has signed (its\n" +
				"memory of that is log_marks, which no backup holds) and its messages say what to do then.",
		}, func(cmd *cobra.Command, database string, args []string) error {
			teams, err := load(cmd.Context(), args[0], database)
			return report(cmd.OutOrStdout(), teams, err)
		}),
	}
}

func report(w io.Writer, teams []backup.Team, err error) error {
	if err != nil {
		return err
	}
	for _, t := range teams {
		fmt.Fprintf(w, "team %s: %d rows, %d entries in the log\n", t.ID, t.Rows, t.Entries)
	}
	_, err = fmt.Fprintf(w, "%d teams\n", len(teams))
	return err
}

// save writes a backup whole or not at all.
func save(ctx context.Context, database, file string) (teams []backup.Team, err error) {
	if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("database: %s is there already; name a file that is not", file)
	}
	if !engine.IsServer(database) {
		if _, err := os.Stat(database); err != nil {
			return nil, fmt.Errorf("database: %w", err) // Open would make it
		}
	}
	s, err := engine.Open(ctx, database)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	part := file + ".part"
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("database: %w", err)
	}
	defer func() {
		if err != nil {
			os.Remove(part)
		}
	}()
	teams, err = backup.Write(ctx, s, f)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	if err := os.Rename(part, file); err != nil {
		return nil, fmt.Errorf("database: %w", err)
	}
	return teams, nil
}

func load(ctx context.Context, file, database string) (teams []backup.Team, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("database: %w", err)
	}
	defer f.Close()
	// Before anything is made.
	if err := backup.Check(ctx, f); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	s, err := engine.Open(ctx, database)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if teams, err = backup.Read(ctx, f, s); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return teams, nil
}
