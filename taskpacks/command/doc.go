// Package command runs the funcs of packs whose code is a program: a binary, or a script with an interpreter that the node's
// machine has.
//
// A pack of kind "command" names its funcs in package.json:
//
//	{
//		"name": "sums", "version": "1.0", "kind": "command",
//		"tasks": {
//			"sum": {
//				"argv": ["bin/sum-{os}-{arch}"],
//				"params": [{"name": "values", "type": "list[float]"}, {"name": "digits", "type": "int", "default": 2}]
//			},
//			"rows": {
//				"argv": ["wc", "-l", "--", "{file}"], "input": "argv", "output": "text",
//				"params": [{"name": "file", "type": "str"}]
//			}
//		}
//	}
//
// Each call is a process of its own (package process) in a fresh folder that is removed afterwards. Its environment holds PATH,
// LANG, HOME, TMPDIR, what the node adds, and
//
//	PYTASKS_PACK_DIR                                  the pack's folder
//	PYTASKS_TASK_ID, PYTASKS_ATTEMPT, PYTASKS_NODE    what the call is of
//
// Arguments reach it as one JSON object on standard input, as they were sent and with defaults filled in; or in its own
// arguments, where a string stands as it is and any other value as JSON. A value may begin with a dash: write "--" before it.
//
// A status of 0 is success, and the result is read from standard output or file descriptor 4. A status of 75 (EX_TEMPFAIL of
// sysexits.h) is an error that may be tried again, any other one is final; the last line on standard error says why.
//
// Start reading in open.go, then run.go; the folder example is a pack in C.
package command
