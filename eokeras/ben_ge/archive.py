"""The published archives of ben-ge: fetched, checked, unpacked, and nothing half-done taken for whole.

DIRECTORY/ben-ge-800/, DIRECTORY/ben-ge-8k/   a tree, whole
DIRECTORY/ben-ge/                             the parts of the full ben-ge, beside each other in one tree
.../NAME_archive.json                         where an archive came from, and how many files it had
DIRECTORY/.NAME.part                          what has arrived of an unfinished download; the next call goes on there
DIRECTORY/.NAME.incomplete/                   being unpacked; removed, or put in its place if whole, by the next call
"""

import contextlib
import shutil
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from eokeras.ben_ge.bigearthnet import WHERE_IT_COMES_FROM
from eokeras.ben_ge.catalogue import ARCHIVES, FULL, NAMES, archives_of, tree_of
from eokeras.ben_ge.download_task import DownloadTask
from eokeras.ben_ge.transfer_bar import TransferBar
from eokeras.ben_ge.zenodo import ADDRESS, RemoteFile, Zenodo
from eokeras.errors import EokerasError, UnwritableError, check_choice

_AT_ONCE = 3  # archives; a server that serves many has little to give to one more
_ENDINGS = (".tar.gz", ".tgz", ".csv")


def download(
    name: str,
    directory: str | Path,
    *,
    keep_archive: bool = False,
    progress: bool = True,
    base: str = ADDRESS,
    attempts: int = 6,
    wait_s: float = 1.0,
    timeout_s: float = 30.0,
) -> Path:
    """Fetches a published ben-ge tree, or parts of the full ben-ge, into a directory, or finds it there.

    The record says how large an archive is and what md5 sum it has; both are checked. A download that
    was cut goes on where it ended, in this call or in the next. The tree appears under its name when it is
    whole, and a whole one is returned without any request. The disk that it takes is checked beforehand: never more
    than the result and one archive, since three are fetched at a time, but unpacked one after the other. An archive
    that unpacks to more than twice what its tree should take is refused on the way.

    The Sentinel patches of the full ben-ge are BigEarthNet's, which is not fetched: `check_bigearthnet` checks a copy.

    Args:
        name: "ben-ge-800" (183 MB packed) or "ben-ge-8k" (4.2 GB unpacked), both whole; "ben-ge-dem" (2.5 GB
            packed), "ben-ge-esaworldcover" (487 MB) or "ben-ge-era-5" (18 MB), parts of the full ben-ge that each
            bring `ben-ge_meta.csv`; "ben-ge" for the three.
        directory: where `directory/name` goes, of parts `directory/ben-ge`; made where it does not exist.
        keep_archive: leaves the tar.gz in `directory`. One that lies there already is unpacked instead of
            fetched, if it is the record's, and is never removed.
        progress: says what is fetched and how much disk it needs, and shows bars with rate and time left.
        base: address of a server that serves the same records in the same form as Zenodo.
        attempts: how many failures in a row are too many; a cut, a timeout or a busy server is one.
        wait_s: pause in seconds before the second attempt; doubles with each. A server's Retry-After counts instead.
        timeout_s: seconds without a byte, or with less than a kilobyte a second, after which an attempt has failed.

    Returns:
        Path of the tree, as `open_source` and `convert` take it.

    Raises:
        InvalidArgumentError: an argument breaks its rule.
        TargetExistsError: in the tree's place, or that of a part, lies what was not downloaded or is not whole any
            more, or an archive of that name is another file.
        DownloadError: an archive cannot be fetched, or its content is not what the record states.
        ArchiveError: it holds something else than ben-ge, or what must not be unpacked.
        UnwritableError: `directory` cannot be written, lacks space, or is in use by another download.

    Example:
        >>> tree = eo.ben_ge.download("ben-ge-800", "data")  # doctest: +SKIP
        >>> records = eo.ben_ge.convert(tree, "records/ben-ge-800")  # doctest: +SKIP

    Reference:
        Mommert et al. 2023, https://arxiv.org/abs/2307.01741
    """
    check_choice("name", name, NAMES)
    directory, tree, stop = Path(directory), Path(directory) / tree_of(name), threading.Event()
    say = tqdm.write if progress else (lambda sentence: None)  # a plain print would go through the bar

    def connect() -> Zenodo:
        return Zenodo(base, attempts=attempts, wait_s=wait_s, timeout_s=timeout_s, say=say, stop=stop)

    server = connect()
    tasks = [DownloadTask(archive, tree, keep_archive) for archive in archives_of(name)]
    tasks = [task for task in tasks if not task.is_done()]
    for task in tasks:
        task.list_files(_look_up(server, task.name))
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            for task in tasks:
                stack.enter_context(task)
                if task.is_staged:
                    task.finish()
            tasks = [task for task in tasks if not task.is_done()]  # another process may just have ended
            if tasks:
                for task in tasks:
                    task.prepare()
                _check_disk(tasks, directory, keep_archive, server.base, say)
                _run(tasks, connect, stop, progress, say)
    except EokerasError:
        raise
    except OSError as error:
        raise UnwritableError(
            f"`directory` must be writable. Received: {directory} ({error.strerror or error}). "
            "What has arrived stays for the next call."
        ) from error
    if tree.name == FULL:
        _say_what_is_lacking(tree, say)
    return tree


def _look_up(server: Zenodo, name: str) -> list[RemoteFile]:
    archive = ARCHIVES[name]
    if archive.file:
        return [server.find(archive.record, archive.file)]
    return server.find_all(archive.record, _ENDINGS, latest=archive.latest)


def _check_disk(
    tasks: Sequence[DownloadTask], directory: Path, keep_archive: bool, base: str, say: Callable[[str], None]
) -> None:
    """Says how much disk the tasks need, and raises where there is less."""
    sentences = [
        f"{task.name}: {_size(task.size)} from {base}/records/{task.files[0].record}, "
        f"{_size(task.size - task.size_to_fetch + task.size_here)} of it are here; "
        f"about {_size(task.archive.tree_bytes)} unpacked."
        for task in tasks
    ]
    # Archives are unpacked and removed one after the other, and are the smaller packed; so one comes on top.
    packed = (sum if keep_archive else max)(task.size_to_fetch for task in tasks)
    needed = sum(task.archive.tree_bytes - task.size_here for task in tasks) + packed
    free = shutil.disk_usage(directory).free
    sentences.append(f"Needs {_size(needed)} in {directory}; {_size(free)} are free.")
    say((" " if len(tasks) == 1 else "\n").join(sentences))
    if needed > free:
        raise UnwritableError(
            f"`directory` must have {_size(needed)} free. Received: {directory}, which has {_size(free)}."
        )


def _run(
    tasks: Sequence[DownloadTask],
    connect: Callable[[], Zenodo],
    stop: threading.Event,
    progress: bool,
    say: Callable[[str], None],
) -> None:
    """Fetches archives side by side and unpacks them one after the other."""
    missing = [part for task in tasks for part in task.missing.items()]
    total, here = sum(file.size for file, _ in missing), sum(part.size for _, part in missing)
    packed = [file.size for task in tasks for file in task.files if not file.name.endswith(".csv")]
    one_by_one = threading.Lock()
    downloads = TransferBar("download", total, here, len(missing), progress, stop)
    unpacks = TransferBar("unpack", sum(packed), 0, len(packed), progress, stop)

    def run(task: DownloadTask) -> None:
        task.fetch(connect(), downloads)
        with one_by_one:
            task.unpack(unpacks, say)

    with downloads, unpacks:
        if len(tasks) == 1:  # in this thread, which an interruption ends at once
            run(tasks[0])
            return
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            futures = [threads.submit(run, task) for task in tasks]
            try:
                _join(tasks, futures, say)
            except BaseException:
                stop.set()
                raise


def _join(tasks: Sequence[DownloadTask], futures: Sequence[Future], say: Callable[[str], None]) -> None:
    """Waits for all, since one that fails need not stop the others; then raises the first failure."""
    errors = [(task.name, future.exception()) for task, future in zip(tasks, futures, strict=True)]
    errors = [(name, error) for name, error in errors if error is not None]
    for name, error in errors[1:]:
        say(f"{name}: {error}")
    if errors:
        raise errors[0][1]


def _say_what_is_lacking(tree: Path, say: Callable[[str], None]) -> None:
    meta = tree / f"{FULL}_meta.csv"
    if not meta.is_file():
        say(f"None of these archives held {meta.name}: get it from https://github.com/HSG-AIML/ben-ge, to be {meta}.")
    say(WHERE_IT_COMES_FROM)


def _size(count: int) -> str:
    """Bytes as a reader says them."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
