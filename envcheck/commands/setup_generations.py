"""`envcheck setup` on generations that are there: list, roll back, prune, remove."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcheck.commands import output

if TYPE_CHECKING:
    from envcheck.commands.setup import Options
    from envcheck.install.generations import Place
    from envcheck.system import Live


def manage(wish: str, place: Place, options: Options, system: Live) -> int:
    """List, roll back, prune or remove generations."""
    from envcheck.install import build, build_image, generations, page
    from envcheck.install.faults import FaultError

    if wish == "list_them":
        found = generations.listed(place)
        output.answer(found, page.list_page(place, found), as_json=options.as_json)
        return 0
    if not place.folder.is_dir():
        output.write(page.list_page(place, []))
        return 1
    images = build_image.holds_images(place)
    try:
        if wish == "remove":
            numbers = (build_image if images else build).remove_all(place, system)
            output.answer(
                {"removed": numbers},
                f"removed: generation {', '.join(map(str, numbers)) or 'none'}",
                as_json=options.as_json,
            )
            return 0
        with generations.locked(place):
            if images:
                build_image.settle(place, system)
            return rollback(place, options, system) if wish == "rollback" else prune(place, options, system)
    except generations.HeldError as error:
        output.write(f"cannot: {error}")
    except FaultError as error:
        output.write(f"cannot: {error.fault.sentence}\nwhat would change that: {error.fault.change}")
    except OSError as error:
        output.write(f"cannot: {error.filename or place.folder}: {error.strerror or error}")
    return 1


def rollback(place: Place, options: Options, system: Live) -> int:
    """Go back to the generation before."""
    from envcheck.install import build_image, generations

    generations.clear_unfinished(place)
    if options.generation is None:
        before = generations.previous(place)
        reason = f"there is no generation before the one in use at {place.link}"
    else:
        found = [one for one in generations.listed(place) if one.number == options.generation and one.usable]
        before = found[0] if found else None
        reason = f"there is no generation {options.generation}: envcheck setup --list"
    if before is None:
        output.write(f"cannot: {reason}")
        return 1
    made = build_image.of_place(place, system) if before.image else None
    if made is not None:
        build_image.use(made, place, before.number)
    else:
        generations.swap(place, before.number)
    where = made.current if made is not None else place.link
    output.answer({"current": before.number}, f"generation {before.number} is in use: {where}", as_json=options.as_json)
    return 0


def prune(place: Place, options: Options, system: Live) -> int:
    """Remove generations that are not in use."""
    from envcheck.install import build_image, generations

    going = generations.prunable(place, options.keep)
    numbers = [one.number for one in going]
    if build_image.holds_images(place):
        build_image.prune(place, numbers, system)
    else:
        for number in numbers:
            generations.remove(place, number)
    kept = [one.number for one in generations.prunable(place, 0)]
    output.answer({"removed": numbers}, _pruned(numbers, kept), as_json=options.as_json)
    return 0


def _pruned(removed: list[int], kept: list[int]) -> str:
    """Return what went and what stays, and how that goes too."""
    went = f"removed: {_generations(removed)}" if removed else "nothing to remove"
    return f"{went}; {_generations(kept)} kept for --rollback: --keep 0 removes that too" if kept else went


def _generations(numbers: list[int]) -> str:
    return f"generation{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"
