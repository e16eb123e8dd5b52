package cli

import (
	"cmp"
	"os"
	"reflect"

	"github.com/spf13/pflag"

	"pytasks/node/config"
)

// reload reads again, at each signal, what may change while a node runs. flags are those of its command line, running is what it
// was started with, file is its configuration file, "" = none.
func (c *cli) reload(signals <-chan os.Signal, n Node, flags *pflag.FlagSet, running config.Config, file string) {
	for range signals {
		n.Reload()
		if file == "" {
			continue
		}
		next, err := rereadConfig(flags, c.getenv, running, file)
		if err != nil {
			n.Log().Error("the configuration stays as it was", "err", err)
			continue
		}
		if by := c.heldBy(flags, file, running.LogLevel); by != "" {
			n.Log().Warn("the log level of the file does not count: another one is given", "by", by, "level", running.LogLevel)
		}
		for _, name := range changedOptions(&running, next) {
			if name == "log-level" {
				n.SetLogLevel(next.LogLevel)
				running.LogLevel = next.LogLevel
				continue
			}
			n.Log().Warn("an option has changed that counts from the next start on", "option", name)
		}
	}
}

// rereadConfig returns the configuration that the node would start with now. Secrets are taken to be what they were:
// a rotation changes them, not a file.
func rereadConfig(flags *pflag.FlagSet, getenv func(string) string, running config.Config, file string) (*config.Config, error) {
	next := config.Default()
	again := pflag.NewFlagSet("start", pflag.ContinueOnError)
	config.Bind(again, &next)
	for _, o := range config.Options() {
		if flags.Changed(o.Name) { // on the command line, which wins
			reflect.ValueOf(o.Field(&next)).Elem().Set(reflect.ValueOf(o.Field(&running)).Elem())
			again.Lookup(o.Name).Changed = true
		}
	}
	if err := config.Load(again, getenv, file); err != nil {
		return nil, err
	}
	next.Given = running.Given
	next.Packs = referencePacks(next.Packs, getenv(referencePacksEnv))
	if err := next.Validate(); err != nil {
		return nil, err
	}
	return &next, nil
}

// changedOptions returns the names of options that differ, in the order of the help text.
func changedOptions(old, next *config.Config) (names []string) {
	for _, o := range config.Options() {
		if !reflect.DeepEqual(reflect.ValueOf(o.Field(old)).Elem().Interface(), reflect.ValueOf(o.Field(next)).Elem().Interface()) {
			names = append(names, o.Name)
		}
	}
	return names
}

// heldBy says what wins over the log level that the file gives, "" if that is the level of the node.
func (c *cli) heldBy(flags *pflag.FlagSet, file, level string) string {
	values, err := config.ReadConfigFile(file)
	given := values["log-level"]
	if err != nil || len(given) == 0 || cmp.Or(given[len(given)-1], level) == level {
		return ""
	}
	switch {
	case flags.Changed("log-level"):
		return "--log-level"
	case c.getenv("PYTASKS_LOG_LEVEL") != "":
		return "PYTASKS_LOG_LEVEL"
	}
	return ""
}
