"""How an instrument looks: whether all of it is there to be seen, read and reached."""

import json

from axe_playwright_python.sync_playwright import Axe

LEAST_TEXT = 11  # pixels

# Faults, each in words; an empty list where there are none.
_FAULTS = """
([root, least]) => {
    const faults = [];
    const name = each => `${each.tagName.toLowerCase()}.${each.getAttribute('class') ?? ''}`
        + ` "${each.textContent.trim().slice(0, 30)}"`;
    const inside = (box, other) => box.left >= other.left - 1 && box.right <= other.right + 1;
    const own = root.getBoundingClientRect();
    for (let each = root; each; each = each.parentElement) {
        const clips = getComputedStyle(each).overflowX !== 'visible' || each === root;
        if (!clips) continue;
        if (each.scrollWidth > each.clientWidth) faults.push(`${name(each)} scrolls sideways`);
        if (!inside(own, each.getBoundingClientRect())) faults.push(`${name(each)} cuts it off`);
    }
    // What is scrolled out of sight, or in part, is seen where its frame is alone.
    const framed = (each, { left, right, top, bottom }) => {
        let box = { left, right, top, bottom };
        for (let frame = each.parentElement; root.contains(frame); frame = frame.parentElement) {
            if (!['auto', 'scroll'].includes(getComputedStyle(frame).overflowY)) continue;
            const edge = frame.getBoundingClientRect();
            box = { left: Math.max(box.left, edge.left), right: Math.min(box.right, edge.right),
                top: Math.max(box.top, edge.top), bottom: Math.min(box.bottom, edge.bottom) };
        }
        return box;
    };
    const seen = [];
    for (const each of root.querySelectorAll('*')) {
        const whole = each.getBoundingClientRect();
        const style = getComputedStyle(each);
        const shown = whole.width && whole.height && style.visibility === 'visible';
        if (!shown || each.closest('.vsnn-hidden')) continue;
        const box = framed(each, whole);
        if (box.right <= box.left || box.bottom <= box.top) continue;
        if (!inside(box, own) || box.top < own.top - 1 || box.bottom > own.bottom + 1) {
            faults.push(`${name(each)} leaves the instrument`);
        }
        const nodes = [...each.childNodes].filter(node => node.nodeType === Node.TEXT_NODE);
        if (!nodes.some(node => node.data.trim())) continue;
        if (parseFloat(style.fontSize) < least) faults.push(`${name(each)}: ${style.fontSize}`);
        const range = document.createRange();
        range.selectNodeContents(each);
        // Line by line: one that begins within a line lies not over what is before it. What is cut
        // off is seen in its box alone.
        for (const line of range.getClientRects()) {
            const part = framed(each, line);
            seen.push({each,
                left: Math.max(part.left, whole.left), right: Math.min(part.right, whole.right),
                top: Math.max(part.top, whole.top), bottom: Math.min(part.bottom, whole.bottom)});
        }
        const cut = each.scrollWidth > each.clientWidth + 1 && style.overflowX !== 'visible';
        if (cut && !each.closest('[title]')) faults.push(`${name(each)} is cut off untitled`);
    }
    seen.forEach((one, i) => seen.slice(0, i).forEach(other => {
        if (one.each.contains(other.each) || other.each.contains(one.each)) return;
        const across = Math.min(one.right, other.right) - Math.max(one.left, other.left);
        const down = Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top);
        if (across > 1 && down > 1) faults.push(`${name(one.each)} lies over ${name(other.each)}`);
    }));
    return faults;
}
"""


def check_fits(one) -> None:
    """Check that nothing is cut off, scrolled sideways, too small to read or over other text."""
    faults = one.page.evaluate(_FAULTS, [one.root.element_handle(), LEAST_TEXT])
    assert faults == [], "\n".join(faults)


def check_accessible(one) -> None:
    """Check that axe-core finds nothing serious or critical in an instrument."""
    kind = one.root.get_attribute("data-vsnn-instrument")
    found = Axe().run(one.page, context=f"[data-vsnn-instrument={kind}]").response["violations"]
    serious = [each for each in found if each["impact"] in ("serious", "critical")]
    told = [
        {"id": each["id"], "where": [(n["target"], n["failureSummary"]) for n in each["nodes"]]}
        for each in serious
    ]
    assert serious == [], json.dumps(told, indent=1)


def check_focus_is_seen(one) -> None:
    """Check that whatever the Tab key reaches in an instrument has an outline or a ring."""
    reached = one.page.evaluate(
        """root => [...root.querySelectorAll('button, input, select, textarea, [tabindex="0"]')]
            .filter(each => each.offsetParent && !each.disabled).length""",
        one.root.element_handle(),
    )
    # By the keyboard: a focus set by a script need not show.
    one.slider().focus()
    one.page.keyboard.press("Shift+Tab")
    one.root.locator("button, input, select").first.focus()
    for place in range(reached):
        style = one.page.evaluate(
            """() => {
                const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
                return [outlineStyle, parseFloat(outlineWidth)];
            }"""
        )
        assert style[0] == "solid", place
        assert style[1] >= 2, place
        one.page.keyboard.press("Tab")
