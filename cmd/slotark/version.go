package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"
)

type versionMessage struct {
	Type    string `json:"message_type"` // "version"
	Version string `json:"version"`
	Go      string `json:"go"`
}

func newVersionCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Long:  "Print the version.\n" + exitStatus,
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			if a.json {
				a.emit(versionMessage{"version", version, runtime.Version()})
				return nil
			}
			fmt.Fprintf(a.stdout, "slotark %s (%s, %s/%s)\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return nil
		},
	}
}
