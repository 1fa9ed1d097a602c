from rlkv.training.cloning import carried_over
from rlkv.training.config import make_config


def test_todays_settings_come_back_as_they_are() -> None:
    params = make_config({"seed": 7, "steps": 3}).model_dump()
    assert carried_over(params) == (params, [])


def test_an_older_jobs_settings_are_taken_as_far_as_they_go() -> None:
    values, notes = carried_over({"steps": 40, "colour": "red", "penalty": 99, "dtype": "int3"})
    assert values == {"steps": 40}
    assert len(notes) == 3
    assert notes[0] == "'colour' is no setting any more and was left out."
    assert notes[1].startswith("Number format: 'int3' is not possible")
    assert notes[2].startswith("Penalty (beta): 99 is not possible")
    assert make_config(values).penalty == make_config({}).penalty
