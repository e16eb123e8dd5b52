package node

import (
	"cmp"
	"os"
	"reflect"

	"github.com/spf13/pflag"
)

// reload reads again, at each signal, what may change while a node runs. flags are those of its command line, running is what it
// was started with, file is its configuration file, "" = none.
func (c *cli) reload(signals <-chan os.Signal, n nodeProcess, flags *pflag.FlagSet, running Config, file string) {
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
func rereadConfig(flags *pflag.FlagSet, getenv func(string) string, running Config, file string) (*Config, error) {
	next := DefaultConfig()
	again := pflag.NewFlagSet("start", pflag.ContinueOnError)
	bindConfig(again, &next)
	for _, o := range configOptions() {
		if flags.Changed(o.name) { // on the command line, which wins
			reflect.ValueOf(o.field(&next)).Elem().Set(reflect.ValueOf(o.field(&running)).Elem())
			again.Lookup(o.name).Changed = true
		}
	}
	if err := loadConfig(again, getenv, file); err != nil {
		return nil, err
	}
	next.Given = running.Given
	next.Packs = referencePacks(next.Packs, getenv(referencePacksEnv))
	if err := next.validate(); err != nil {
		return nil, err
	}
	return &next, nil
}

// changedOptions returns the names of options that differ, in the order of the help text.
func changedOptions(old, next *Config) (names []string) {
	for _, o := range configOptions() {
		if !reflect.DeepEqual(reflect.ValueOf(o.field(old)).Elem().Interface(), reflect.ValueOf(o.field(next)).Elem().Interface()) {
			names = append(names, o.name)
		}
	}
	return names
}

// heldBy says what wins over the log level that the file gives, "" if that is the level of the node.
func (c *cli) heldBy(flags *pflag.FlagSet, file, level string) string {
	values, err := readConfigFile(file)
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
