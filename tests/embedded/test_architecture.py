"""The embedded OMERO's modules import each other without a cycle, also for annotations."""

from __future__ import annotations

import grimp

ROOM = "omero_pixclf.embedded"


def test_no_modules_import_each_other_in_a_cycle() -> None:
    graph = grimp.build_graph("omero_pixclf", cache_dir=None)  # with imports under TYPE_CHECKING and in functions
    inner = {module for module in graph.modules if module.startswith(f"{ROOM}.")}
    edges = {module: graph.find_modules_directly_imported_by(module) & inner for module in inner}
    cycles = {
        f"{module} -> {imported} -> … -> {module}"
        for module, targets in edges.items()
        for imported in targets
        if graph.find_shortest_chain(importer=imported, imported=module)
    }
    assert not cycles
    assert len(inner) > 100 and sum(map(len, edges.values())) > 500  # the graph was read
