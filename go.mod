module github.com/shuntmesh/shunt

go 1.26
