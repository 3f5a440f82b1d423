// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

// opener PATH: opens it through libc, as Rust does. opener --version: for the doctor.
fn main() {
    let path = std::env::args().nth(1).unwrap();
    if path == "--version" {
        println!("opener 1.0");
        return;
    }
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path);
    println!("opened {:?}", file.unwrap());
}
