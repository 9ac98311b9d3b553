"""`appliance doctor --gpu`: what the networks run on here, and why; card, driver, memory, libraries, kernels, built engines."""

from __future__ import annotations

from collections.abc import Callable

from appliance.analysis.golden import check_models
from appliance.analysis.pipeline import Models
from appliance.errors import CoronetError, InferenceError, Reason
from appliance.hardware.gpu import GpuProbe
from appliance.inference.choose import GpuPlan, trouble_of
from appliance.inference.cuda.binary import fatbin_path, image_for
from appliance.inference.engine_cache import EngineCache
from appliance.inference.processor import this_processor
from appliance.inference.tensorrt_library import capability_text
from appliance.maintenance.examination import Finding, absent, bad, good

LEAST_BYTES = 6 << 30
"""What the analysis may take of an 8 GB card."""
_MIB = 1 << 20


def examine_gpu(plan: GpuPlan, *, models: Callable[[GpuPlan], Models], probe: Callable[[], GpuProbe]) -> list[Finding]:
    """Look at everything that decides where the networks run; one part that fails never hides another.

    Args:
        plan: how the GPU is to be used.
        models: loads them by a plan.
        probe: opens the card's health (NVML).
    """
    findings = [_processor(), *_card(plan), _health(plan, probe), _library(plan), _kernels(plan), *_cached(plan)]
    try:
        loaded = models(plan)
        check_models(loaded)
    except CoronetError as error:
        return [*findings, bad("engine", error.reason)]
    return [*findings, _engine(loaded), *_networks(loaded)]


def _processor() -> Finding:
    processor = this_processor()
    special = ", ".join((*processor.multiplies_bytes, *processor.multiplies_bf16)) or "-"
    return good(
        "processor",
        f"{processor.machine}，可用 {processor.cores} 核，推理用 {processor.threads} 线程，低精度指令：{special}",
        f"{processor.machine}, {processor.cores} cores, {processor.threads} threads for the networks; fast in low precision: {special}",
    )


def _card(plan: GpuPlan) -> list[Finding]:
    if not plan.present:
        return [absent("card", "未发现显卡驱动，推理在处理器上运行", "no driver of a graphics card is loaded; the processor does the work")]
    try:
        driver = plan.driver(plan.number)
        device, (free, total) = driver.device, driver.memory()
        driver.close()
    except InferenceError as error:
        return [bad("card", error.reason)]
    capability = capability_text(device.capability)
    cuda = f"{device.driver // 1000}.{device.driver % 1000 // 10}"
    zh, en = f"计算能力 {capability}，驱动支持 CUDA {cuda}", f"compute capability {capability}, driver for CUDA {cuda}"
    card = good("card", f"{device.name}，{zh}", f"{device.name}, {en}")
    zh, en = f"显存 {total // _MIB} MiB，空闲 {free // _MIB} MiB", f"{total // _MIB} MiB of memory, {free // _MIB} MiB free"
    if free < LEAST_BYTES:
        return [card, bad("memory", Reason("INF-060", f"{zh}，大检查可能改用处理器", f"{en}: large studies may run on the processor"))]
    return [card, good("memory", zh, en)]


def _health(plan: GpuPlan, probe: Callable[[], GpuProbe]) -> Finding:
    if not plan.present:
        return absent("health", "无显卡", "there is no card")
    try:
        opened = probe()
        try:
            state = opened.look()
        finally:
            opened.close()
    except CoronetError as error:
        return bad("health", error.reason)
    return good("health", f"{state.celsius} °C", f"{state.celsius} °C{', slowed down' if state.slowed else ''}")


def _library(plan: GpuPlan) -> Finding:
    try:
        library = plan.library()
    except InferenceError as error:
        return bad("library", error.reason) if plan.present else absent("library", error.zh, error.en)
    ahead = ", ".join(capability_text(each) for each in library.ahead())
    zh, en = (f"，可预先生成：{ahead}", f", builds ahead for {ahead}") if ahead else ("，仅为本机显卡生成", ", builds for this card only")
    return good("library", f"{library.name} {library.version}{zh}", f"{library.name} {library.version}{en}")


def _kernels(plan: GpuPlan) -> Finding:
    shipped = next((fatbin_path(folder) for folder in plan.shipped if fatbin_path(folder).is_file()), None)
    if shipped is not None:
        return good("kernels", f"随系统提供：{shipped.name}", f"came with the image: {shipped.name}")
    if not plan.present:
        return absent("kernels", "无显卡", "there is no card")
    try:
        driver = plan.driver(plan.number)
        image_for(driver.device.capability, folders=plan.shipped, cache=plan.cache)
    except InferenceError as error:
        return bad("kernels", error.reason)
    return good("kernels", "已为本机显卡编译", "compiled for this card")


def _cached(plan: GpuPlan) -> list[Finding]:
    """Each engine on the disk, and whether it is whole."""
    findings = []
    for path, kept in EngineCache(plan.cache, shipped=plan.shipped).entries():
        if isinstance(kept, str):
            zh, en = "文件已损坏，下次启动时重新生成", f"{kept}; it is built again at the next start"
            findings.append(bad("cached engine", Reason("INF-056", f"{path.name}：{zh}", f"{path.name}: {en}")))
            continue
        layers = kept.layers
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(layers.precisions().items()))
        key = kept.key
        text = f"{key.model}, {key.library} {key.version}, {key.capability}, {key.precision}, {kept.bytes / 1e6:.1f} MB"
        findings.append(good("cached engine", f"{text}，卷积 {kinds}", f"{text}, {len(layers.layers)} layers, convolutions {kinds}"))
    return findings or [absent("cached engine", "尚未生成", "none was built yet")]


def _engine(models: Models) -> Finding:
    trouble = trouble_of(models.engine)
    if trouble is not None:
        return bad("engine", Reason(trouble.code, f"{trouble.zh} 改由处理器计算。", f"{trouble.en} The processor does the work."))
    name = models.engine.describe()
    return good("engine", f"基准病例通过（{name}）", f"golden case passed ({name})")


def _networks(models: Models) -> list[Finding]:
    engine, findings = models.engine, []
    for name in models.sessions:
        what, why = f"{engine.name} {engine.precision_of(name)}", engine.why(name)
        findings.append(good(f"network {name}", f"{what}：{why.zh}", f"{what}: {why.en}"))
    return findings
