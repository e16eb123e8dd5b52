package taskpacks_test

import (
	"context"
	"encoding/json"
	"fmt"

	"pytasks/taskpacks"
)

type rect struct {
	Width  float64 `json:"width"`
	Height float64 `json:"height" default:"1.0"`
}

func area(_ context.Context, in rect) (float64, error) { return in.Width * in.Height, nil }

func ExampleDefine() {
	registry, err := taskpacks.NewRegistry(taskpacks.Pack{Name: "shapes", Version: "1.0", Funcs: []taskpacks.Func{
		taskpacks.Define("shapes.main.area", area),
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fn, _ := registry.Func("shapes.main.area")
	for _, p := range fn.Params {
		fmt.Println(p.Name, p.Type, p.Required)
	}
	result, err := fn.Call(context.Background(), json.RawMessage(`{"width": 5}`))
	fmt.Println(string(result), err)
	fmt.Println(fn.Check(json.RawMessage(`{"width": "wide"}`)))
	// Output:
	// width <class 'float'> true
	// height <class 'float'> false
	// 5.0 <nil>
	// the passed param width doesnt match the required type: <class 'float'>.
}
