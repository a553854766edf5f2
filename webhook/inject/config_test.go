// SPDX-License-Identifier: Apache-2.0

package inject_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/shuntmesh/shunt/webhook/inject"
)

// Every field comes back, also those that are added some day.
func TestOptionsAsJSON(t *testing.T) {
	want := inject.Options{Never: []labels.Selector{selector(t, "app in (a,b),tier!=x")}, Always: []labels.Selector{selector(t, "a=b"), selector(t, "!c")}}
	fields := reflect.ValueOf(&want).Elem()
	for i := range fields.NumField() {
		switch f := fields.Field(i); f.Kind() {
		case reflect.String:
			f.SetString("text of " + fields.Type().Field(i).Name)
		case reflect.Bool:
			f.SetBool(true)
		case reflect.Slice:
			if f.Len() == 0 {
				f.Set(reflect.ValueOf([]string{"one", "two"}))
			}
		default:
			t.Errorf("field %s: this test knows no value of %s", fields.Type().Field(i).Name, f.Kind())
		}
	}
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got inject.Options
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(got)
	if err != nil || string(again) != string(text) || len(got.Never) != 1 || len(got.Always) != 2 {
		t.Errorf("%s became %s, %v", text, again, err)
	}
	if !got.Never[0].Matches(labels.Set{"app": "a"}) || got.Never[0].Matches(labels.Set{"app": "a", "tier": "x"}) {
		t.Errorf("the selector became %s", got.Never[0])
	}
	for _, bad := range []string{`{"Never": ["a=b=c"]}`, `{"ByDefault": 1}`, `[]`} {
		if err := json.Unmarshal([]byte(bad), &got); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}
