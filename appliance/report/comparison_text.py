"""What has changed since an earlier examination, in the words of the report."""

from __future__ import annotations

from appliance.comparison import CHANGES, Change, Comparison, SegmentChange, compare
from appliance.findings import Findings, Grade, whole_score
from appliance.report.phrases import GRADE_NAMES, Phrase
from appliance.report.regions import in_order, name_segments

CHANGE_WORDS: dict[Change, Phrase] = {
    "new": Phrase("新发斑块", "New plaque"),
    "progressed": Phrase("进展", "Progressed"),
    "regressed": Phrase("狭窄程度减轻", "Narrowing less than before"),
    "not_seen_now": Phrase("既往有斑块,本次未检出", "Plaque earlier, none detected now"),
    "unchanged": Phrase("狭窄程度无变化", "Degree unchanged"),
    "not_comparable": Phrase("其中一次不能评价,无法比较", "Not assessable in one of the two, not compared"),
}
WITH_DEGREES: frozenset[Change] = frozenset({"progressed", "regressed"})
WORSE: tuple[Change, ...] = ("new", "progressed")
ONE_STEP = Phrase(
    "狭窄程度相差一级可在 CT 测量误差之内,须由医师对照两次图像判断。",
    "A change by one degree may lie within the error of CT; a physician must compare both sets of images.",
)


def date_text(study_date: str) -> str:
    """2025-03-01 for 20250301; other texts as they are."""
    return f"{study_date[:4]}-{study_date[4:6]}-{study_date[6:]}" if len(study_date) == 8 else study_date


def comparison(findings: Findings) -> list[Phrase]:
    """The sentences of the section; none where there is no earlier examination to compare with."""
    compared = compare(findings)
    if compared is None:
        return []
    sentences = [_with_what(compared), *_scores(findings, compared)]
    if not compared.segments:
        sentences.append(Phrase("两次检查均未检出斑块。", "No plaque detected in either examination."))
    sentences += [_changed(change, compared) for change in CHANGES if compared.of(change)]
    return [*sentences, ONE_STEP] if compared.segments else sentences


def in_impression(findings: Findings) -> list[Phrase]:
    """One item: what is new or has progressed, or that nothing that could be compared is."""
    compared = compare(findings)
    if compared is None:
        return []
    date = date_text(compared.earlier.study_date)
    worse = [
        (CHANGE_WORDS[change], name_segments(in_order(compared.of(change)))) for change in ("new", "progressed") if compared.of(change)
    ]
    if not worse:
        return [
            Phrase(
                f"与 {date} 检查比较:可比较的节段未见新发斑块或进展。",
                f"Compared with {date}: no new plaque and no progression in the segments that could be compared.",
            )
        ]
    zh = ";".join(f"{where.zh}{what.zh}" for what, where in worse)
    en = "; ".join(f"{what.en.lower()}: {where.en}" for what, where in worse)
    return [Phrase(f"与 {date} 检查比较:{zh}。", f"Compared with {date}: {en}.")]


def _with_what(compared: Comparison) -> Phrase:
    """Which examination, who answers for it, and by what it was analysed."""
    earlier = compared.earlier
    zh = ["医师已审核" if earlier.final else "未经医师终审"]
    en = ["approved by a physician" if earlier.final else "never approved by a physician"]
    if not earlier.validated_on_patients:
        zh.append("由未经临床验证的模型分析")
        en.append("analysed by models not validated on patients")
    if not compared.same_software:
        zh.append(f"软件版本不同({earlier.software})")
        en.append(f"by another version of the software ({earlier.software})")
    date = date_text(earlier.study_date)
    return Phrase(
        f"与本机 {date} 的检查比较,该次结果{'、'.join(zh)}。", f"Compared with the result of {date} on this box, {', '.join(en)}."
    )


def _scores(findings: Findings, compared: Comparison) -> list[Phrase]:
    sentences = []
    if findings.cad_rads is not None:
        was, now = (text.removeprefix("CAD-RADS ") for text in (compared.earlier.cad_rads, findings.cad_rads.text))
        sentences.append(Phrase(f"CAD-RADS 既往 {was},本次 {now}。", f"CAD-RADS {was} earlier, {now} now."))
    if compared.calcium is not None:
        before, after = (whole_score(score) for score in compared.calcium)
        sentences.append(
            Phrase(
                f"Agatston 积分既往 {before},本次 {after}({after - before:+d})。",
                f"Agatston score {before} earlier, {after} now ({after - before:+d}).",
            )
        )
    return sentences


def _changed(change: Change, compared: Comparison) -> Phrase:
    words = CHANGE_WORDS[change]
    entries = {each.segment: each for each in compared.segments if each.change == change}
    if change not in WITH_DEGREES:
        where = name_segments(in_order(entries))
        return Phrase(f"{words.zh}:{where.zh}。", f"{words.en}: {where.en}.")
    told = [_step(entries[name]) for name in in_order(entries)]
    return Phrase(f"{words.zh}:{'、'.join(each.zh for each in told)}。", f"{words.en}: {', '.join(each.en for each in told)}.")


def _step(entry: SegmentChange) -> Phrase:
    where, before, now = name_segments((entry.segment,)), _grade(entry.before), _grade(entry.now)
    return Phrase(f"{where.zh}({before.zh}→{now.zh})", f"{where.en} ({before.en} to {now.en})")


def _grade(grade: Grade | None) -> Phrase:
    return Phrase("—", "-") if grade is None else GRADE_NAMES[grade]
