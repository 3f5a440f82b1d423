// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

// opener PATH: opens it, by system calls of Go's own. opener --version: for the doctor.
package main

import (
	"fmt"
	"os"
)

func main() {
	if os.Args[1] == "--version" {
		fmt.Println("opener 1.0")
		return
	}
	file, err := os.OpenFile(os.Args[1], os.O_RDWR, 0)
	fmt.Println("opened", file.Name(), err)
}
