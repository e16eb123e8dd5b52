package node

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/structured-merge-diff/v6/typed"

	"pytasks/cluster/secret"
)

// kubernetes is the module that has the schema of the Kubernetes API, as servers apply it. Only that one file of it is read.
const kubernetes = "k8s.io/client-go@v0.34.1"

// TestKubernetes judges deploy/kubernetes.yaml as a server does that refuses unknown fields: by the schema of the API and the code
// that applies it there. What only a cluster knows, such as whether a pod fits anywhere, it does not see.
func TestKubernetes(t *testing.T) {
	parser := kubernetesSchema(t)
	text, err := os.ReadFile("../deploy/kubernetes.yaml")
	if err != nil {
		t.Fatal(err)
	}
	startsWith(t, string(text))
	kinds := map[string]int{}
	for _, doc := range strings.Split(string(text), "\n---\n") {
		var object struct {
			APIVersion string `yaml:"apiVersion"`
			Kind       string
		}
		if err := yaml.Unmarshal([]byte(doc), &object); err != nil {
			t.Fatal(err)
		}
		kinds[object.Kind]++
		if err := judgeObject(parser, object.APIVersion, object.Kind, doc); err != nil {
			t.Errorf("%s: %v", object.Kind, err)
		}
		// The schema is not blind: a field that is not there, and a value of another type, are seen.
		if judgeObject(parser, object.APIVersion, object.Kind, doc+"\nspecs: {}\n") == nil {
			t.Errorf("%s may have a field that does not exist", object.Kind)
		}
		if wrong := strings.Replace(doc, "name: ", "name: [1]\n  namespace: ", 1); judgeObject(parser, object.APIVersion, object.Kind, wrong) == nil {
			t.Errorf("%s may have a list as its name", object.Kind)
		}
	}
	if kinds["StatefulSet"] != 1 || kinds["Service"] != 2 || kinds["PodDisruptionBudget"] != 1 {
		t.Errorf("kinds %v, want a StatefulSet, two Services and a PodDisruptionBudget", kinds)
	}
}

// startsWith has a node judge the environment that its pod gives it.
func startsWith(t *testing.T, text string) {
	t.Helper()
	_, last, _ := strings.Cut(text, "kind: StatefulSet")
	var set struct {
		Spec struct {
			Template struct {
				Spec struct {
					Containers []struct {
						Env []struct{ Name, Value string }
					}
				}
			}
		}
	}
	if err := yaml.Unmarshal([]byte("kind: StatefulSet"+last), &set); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{}
	for _, v := range set.Spec.Template.Spec.Containers[0].Env {
		env[v.Name] = v.Value
	}
	for name, value := range map[string]string{"PYTASKS_NAME": "pytasks-0", "PYTASKS_ADVERTISE": "10.1.2.3", "PYTASKS_SECRET": secret.New().Text()} {
		if given, ok := env[name]; !ok || given != "" {
			t.Errorf("%s is %q, %v, want it to come from the pod or the Secret", name, given, ok)
		}
		env[name] = value
	}
	cmd := exec.CommandContext(t.Context(), buildProgram(t), "start", "--print-config")
	for name, value := range env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	printed, err := cmd.CombinedOutput()
	out := string(printed)
	for _, want := range []string{"name: pytasks-0", "data-dir: /data/node", `data-pool: ""`, "http: 0.0.0.0:8080", "bootstrap-expect: 3", "(used)"} {
		if err != nil || !strings.Contains(out, want) {
			t.Errorf("%v, want %q in\n%s", err, want, out)
		}
	}
}

// judgeObject returns what is wrong with one object.
func judgeObject(parser *typed.Parser, version, kind, doc string) error {
	group := map[string]string{"v1": "core.v1"}[version]
	if group == "" {
		group = strings.ReplaceAll(version, "/", ".")
	}
	_, err := parser.Type("io.k8s.api." + group + "." + kind).FromYAML(typed.YAMLObject(doc))
	return err
}

func kubernetesSchema(t *testing.T) *typed.Parser {
	t.Helper()
	cmd := exec.Command("go", "mod", "download", "-json", kubernetes)
	out, err := cmd.Output()
	var module struct{ Dir, Error string }
	if json.Unmarshal(out, &module) != nil || err != nil {
		t.Skipf("the schema of Kubernetes cannot be had: %v %s", err, module.Error)
	}
	text, err := os.ReadFile(filepath.Join(module.Dir, "applyconfigurations/internal/internal.go"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "schemaYAML = typed.YAMLObject(`")
	schema, _, closed := strings.Cut(rest, "`)")
	if !ok || !closed {
		t.Fatal("the schema is not where it was in " + kubernetes)
	}
	parser, err := typed.NewParser(typed.YAMLObject(schema))
	if err != nil {
		t.Fatal(err)
	}
	return parser
}
