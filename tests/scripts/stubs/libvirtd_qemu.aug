(* SPDX-License-Identifier: LGPL-2.1-or-later *)
(* Copyright (C) 2026 the iommufd-rlimit-shim developers *)
(* Stands in for libvirt's lens for qemu.conf, which comes with libvirt. Like that one it knows no list with comments in it. *)
module Libvirtd_qemu =
  let space = del /[ \t]*/ ""
  let eol = del /[ \t]*\n/ "\n"
  let equals = del /[ \t]*=[ \t]*/ " = "
  let quoted = del /"/ "\"" . store /[^"\n]*/ . del /"/ "\""
  let element = [ seq "element" . quoted ] . del /[ \t\n]*/ ""
  let list = counter "element" . del /\[[ \t\n]*/ "[ " . (element . (del /,[ \t\n]*/ ", " . element)*)? . del /\]/ "]"
  let name = /[a-z][a-z_]*/
  let entry = [ space . key name . equals . (quoted | store /[0-9]+/ | list) . eol ]
  let comment = [ label "#comment" . del /[ \t]*#[ \t]*/ "# " . store /([^ \t\n].*[^ \t\n]|[^ \t\n])/ . eol ]
  let empty = [ label "#empty" . del /[ \t]*#?[ \t]*\n/ "\n" ]
  let lns = (entry | comment | empty)*
