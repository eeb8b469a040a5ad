// Command vkeffnet trains, evaluates and applies EfficientNetV2 on any GPU with a Vulkan driver.
//
// Results go to stdout, progress and logs to stderr; --json turns results into JSON. The exit status is 0 when all was
// done, 1 when something failed and 2 when the command line was wrong. Run vkeffnet --help for the commands.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/seed-8d806880/vkeffnet/cmd/internal/suggest"
)

func main() { os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)) }

// run executes one command line and returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRoot(&app{stdout: stdout, stderr: stderr})
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	var failed *runError
	if errors.As(err, &failed) {
		err = failed.err
	}
	fmt.Fprintf(stderr, "vkeffnet: error: %v\n", err)
	if hint := hintFor(err); hint != "" {
		fmt.Fprintf(stderr, "hint: %s\n", hint)
	}
	var usage *usageError
	if failed == nil || errors.As(err, &usage) {
		return 2
	}
	return 1
}

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "vkeffnet",
		Short: "EfficientNetV2 on any Vulkan device",
		Long: `vkeffnet trains, evaluates and applies EfficientNetV2 on any GPU with a Vulkan driver
(AMD, Intel, NVIDIA) and on CPU drivers such as lavapipe.

Results go to stdout, progress and logs to stderr. Exit status: 0 done, 1 failed, 2 wrong usage.`,
		Example: `  vkeffnet devices
  vkeffnet train --data demo --model nano --out RUN
  vkeffnet eval --weights RUN/best.safetensors --data demo
  vkeffnet predict --weights RUN/best.safetensors photo.jpg`,
		Args:              cobra.ArbitraryArgs,
		SilenceErrors:     true,
		SilenceUsage:      true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return readEnv(cmd) },
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return withHint(usagef("no command given"), "vkeffnet --help lists the commands")
			}
			var names []string
			for _, c := range cmd.Commands() {
				names = append(names, c.Name())
			}
			return withHint(usagef("unknown command %q", args[0]), suggest.Hint(args[0], names, "vkeffnet --help lists the commands"))
		},
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(flagError)
	a.addFlags(root.PersistentFlags())
	root.AddCommand(
		newDevices(a), newModels(a), newTrain(a), newEval(a), newPredict(a), newStep(a), newPlan(a), newBench(a), newSelftest(a),
	)
	return root
}

// flagError turns pflag's errors into usage errors and names the flag that was probably meant.
func flagError(cmd *cobra.Command, err error) error {
	fallback := cmd.CommandPath() + " --help lists the flags"
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return withHint(&usageError{err}, fallback)
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, "--"+f.Name)
		}
	})
	return withHint(&usageError{err}, suggest.Hint("--"+unknown.GetSpecifiedName(), names, fallback))
}

// work is what a command does after its flags have been checked.
type work func(ctx context.Context, args []string) error

// do runs fn as a command's work, which Ctrl-C stops.
func do(fn work) func(*cobra.Command, []string) error {
	return begin(func(ctx context.Context, args []string) error {
		ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
		defer stop()
		err := fn(ctx, args)
		if err != nil && ctx.Err() != nil {
			return errors.New("interrupted")
		}
		return err
	})
}

// begin runs fn as a command's work. Its errors mean exit status 1 unless they are usage errors; all that fails before it
// is wrong usage.
func begin(fn work) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if err := fn(cmd.Context(), args); err != nil {
			return &runError{err}
		}
		return nil
	}
}

// runError marks an error of a command's work.
type runError struct{ err error }

func (e *runError) Error() string { return e.err.Error() }
func (e *runError) Unwrap() error { return e.err }

// usageError is a wrong command line: exit status 2.
type usageError struct{ err error }

func (e *usageError) Error() string { return strings.TrimPrefix(e.err.Error(), "vkeffnet: ") }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }
