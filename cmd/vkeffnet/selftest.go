package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/seed-8d806880/vkeffnet/cmd/internal/selftest"
)

func newSelftest(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "selftest",
		Short: "hold every kernel against its float64 twin on this device and driver",
		Long: `selftest runs every kernel and variant on the device over a few decisive shapes and compares the
results with float64 arithmetic on the host, and whole steps of networks with stored results of
PyTorch. NMSE is the squared error over the squared size, the largest of all outputs; float32
gives about 1e-13. The exit status is 1 when a kernel is wrong; its line says which switch avoids it.`,
		Example: "  vkeffnet selftest\n  vkeffnet selftest --device radeon --json",
		Args:    cobra.NoArgs,
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line")
	cmd.RunE = do(func(ctx context.Context, _ []string) error {
		dev, err := a.open()
		if err != nil {
			return err
		}
		defer dev.Close()
		if !asJSON {
			fmt.Fprintf(a.stdout, "%s, %s\n\n", dev.Info().Name, dev.Info().Driver)
		}
		kernels, failed := 0, 0
		err = selftest.Run(ctx, dev, func(r selftest.Result) error {
			kernels++
			if !r.OK {
				failed++
			}
			if asJSON {
				return a.printJSON(r)
			}
			return a.printSelftest(r)
		})
		if err != nil {
			return err
		}
		if asJSON {
			err = a.printJSON(struct {
				OK      bool `json:"ok"`
				Kernels int  `json:"kernels"`
				Failed  int  `json:"failed"`
			}{failed == 0, kernels, failed})
		} else {
			_, err = fmt.Fprintf(a.stdout, "\n%d kernels and variants, %d wrong\n", kernels, failed)
		}
		if err == nil && failed > 0 {
			err = fmt.Errorf("%d of %d kernels and variants are wrong on %s", failed, kernels, dev.Info().Name)
		}
		return err
	})
	return cmd
}

// printSelftest prints one line, and below it what is wrong and what can be done.
func (a *app) printSelftest(r selftest.Result) error {
	verdict := "ok"
	switch {
	case !r.OK:
		verdict = "WRONG"
	case r.Skipped:
		verdict = "none"
	}
	_, err := fmt.Fprintf(a.stdout, "%-5s  %-22s  %-14s  NMSE %.1e\n", verdict, r.Kernel, r.Variant, float64(r.NMSE))
	if err == nil && r.Detail != "" {
		_, err = fmt.Fprintf(a.stdout, "       %s\n", r.Detail)
	}
	if err == nil && r.Hint != "" {
		_, err = fmt.Fprintf(a.stdout, "       %s\n", r.Hint)
	}
	return err
}
